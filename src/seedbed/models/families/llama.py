"""LLaMA 1, 2, 3 and 3.1 (Touvron et al. 2023; Grattafiori et al. 2024), Code Llama, SmolLM; and what many others
share with them: pre-norm RMSNorm, rotary positions, a gated feed-forward layer, and their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from seedbed.models.config import HeadKind, ModelConfig
from seedbed.models.families.base import Family, Fields, Published, Rule, checked, fixed, flag, same, together
from seedbed.models.families.heads import DECODER, classes, decoder_head, written_labels
from seedbed.models.families.rules import GELU, activation, grouped, rope, sizes, tied
from seedbed.models.families.weight_mapping import SAME, STACKED, Conversion, Row, layers

BLOCK = "blocks.{i}."
QKV = "mixer.q mixer.k mixer.v"


@dataclass(frozen=True)
class DecoderNames:
    """The tensor names of a family of decoders: our layers → theirs, below the family's prefix."""

    outer: dict[str, str]  # layers outside the blocks
    inner: dict[str, str]  # those of a block; several of ours, with spaces between, may be one of theirs
    block: str = "layers.{i}."  # before the names of a block
    output: str = "lm_head"  # the output embedding, which has no prefix
    token: str = "score"  # a classifier of tokens, likewise
    alone: Conversion = SAME  # of a block's layer
    fused: Callable[[ModelConfig], Conversion] = lambda config: STACKED  # of one that is several of ours

    def rows(self, config: ModelConfig, prefix: str) -> list[Row]:
        """Return the table for a configuration of ours."""
        head = {"output": self.output, "head.output": self.token if config.head == "token" else "score"}
        inner = layers(self.inner, BLOCK, prefix + self.block, alone=self.alone, fused=self.fused(config))
        return layers(self.outer, theirs=prefix) + layers(head) + inner


OUTER = {"embedding": "embed_tokens", "norm": "norm"}
NORMS = {"mixer_norm": "input_layernorm", "feedforward_norm": "post_attention_layernorm"}
ATTENTION = {
    "mixer.q": "self_attn.q_proj",
    "mixer.k": "self_attn.k_proj",
    "mixer.v": "self_attn.v_proj",
    "mixer.out": "self_attn.o_proj",
    "mixer.q_norm": "self_attn.q_norm",
    "mixer.k_norm": "self_attn.k_norm",
}
MLP = {"feedforward.up": "mlp.up_proj", "feedforward.down": "mlp.down_proj", "feedforward.gate": "mlp.gate_proj"}
LLAMA_NAMES = DecoderNames(OUTER, NORMS | ATTENTION | MLP)


def decoder_rule(
    *more: Rule,
    tie: bool = False,  # whether embeddings are shared where a file does not say so
    # the family's name of the norms' epsilon, and its default; None: ``unlike`` fixes it
    eps: tuple[str, float] | None = ("rms_norm_eps", 1e-6),
    head_dim: bool = True,  # whether it can choose the size of heads
    groups: bool = True,  # whether it can have fewer heads of keys than of queries
    **unlike: Any,
) -> Rule:
    """Combine the rules that LLaMA-shaped decoders share with a family's own: ``more`` rules, ``unlike`` fields."""
    shape = {"norm": "rms", "norm_place": "pre", "mlp": "gated", "position": "rope"} | unlike
    keys = [grouped(head_dim=head_dim)] if groups else []
    norms = [same("norm_eps", *eps)] if eps else []
    return together(*sizes(), *keys, *norms, tied(tie), fixed(**shape), *more)


def make_family(
    name: str,
    stem: str,  # the beginning of its class names
    rule: Rule,
    names: DecoderNames = LLAMA_NAMES,
    *,
    model_types: tuple[str, ...] = (),
    prefix: str = "model.",
    lm: str = "ForCausalLM",  # this and the endings of ``heads`` follow the stem
    heads: Mapping[str, HeadKind] = DECODER,
    older: Mapping[str, str] = MappingProxyType({}),  # other names of keys, and those that the rule reads
    **more: Any,
) -> Family[ModelConfig]:
    """Build a family of decoders."""

    def read(published: Published, head: HeadKind) -> ModelConfig:
        newer = {key: value for key, value in published.items() if key not in older}
        renamed = {older[key]: value for key, value in published.items() if key in older}
        return checked(rule.read(renamed | newer) | decoder_head(published, head))

    def write(config: ModelConfig) -> Fields:
        return rule.write(config) | written_labels(config)

    table = partial(names.rows, prefix=prefix)
    named: dict[str, HeadKind] = {f"{stem}{lm}": "lm"}
    named |= {name: head for name, head in classes(stem, heads).items() if head != "lm"}
    return Family(name, model_types or (name,), named, read, write, table, prefix, **more)


_BIASES = (flag("attention_bias", "qkv_bias", "out_bias"), flag("mlp_bias", "mlp_bias"))
LLAMA = make_family("llama", "Llama", decoder_rule(activation("hidden_act", GELU), rope(), *_BIASES))
