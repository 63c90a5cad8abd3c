"""LLaMA 1, 2, 3 and 3.1 (Touvron et al. 2023; Grattafiori et al. 2024), Code Llama, SmolLM; and what many others
share with them: pre-norm RMSNorm, rotary positions, a gated feed-forward layer, and their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from seedbed.models.config import HeadKind, ModelConfig
from seedbed.models.families.base import Family, Fields, Published, Rule, checked, fixed, flag, same, together
from seedbed.models.families.heads import DECODER, classes, decoder_head, decoder_head_rows, written_labels
from seedbed.models.families.rotary import rope
from seedbed.models.families.rules import GELU, activation, grouped, sizes, tied
from seedbed.models.families.weight_mapping import Row, layer

BLOCK, THEIRS = "blocks.{i}.", "model.layers.{i}."
QKV = tuple(f"{BLOCK}mixer.{part}" for part in "qkv")


def decoder_rule(
    *more: Rule,
    tie: bool = False,
    eps: tuple[str, float] = ("rms_norm_eps", 1e-6),
    head_dim: bool = True,
    groups: bool = True,
    **unlike: Any,
) -> Rule:
    """Combine the rules that LLaMA-shaped decoders share with a family's own: ``more`` rules, ``unlike`` fields.

    Args:
        tie: whether embeddings are shared where a file does not say so.
        eps: the family's name of the norms' epsilon, and its default.
        head_dim, groups: whether it can choose the size of heads, and have fewer of keys than of queries.
    """
    shape = {"norm": "rms", "norm_place": "pre", "mlp": "gated", "position": "rope"} | unlike
    keys = [grouped(head_dim=head_dim)] if groups else []
    return together(*sizes(), *keys, same("norm_eps", *eps), tied(tie), fixed(**shape), *more)


def make_family(
    name: str,
    stem: str,
    rule: Rule,
    rows: Callable[[ModelConfig], list[Row]] | None = None,
    *,
    model_types: tuple[str, ...] = (),
    prefix: str = "model.",
    lm: str = "ForCausalLM",
    heads: Mapping[str, HeadKind] | None = None,
    older: Mapping[str, str] | None = None,
    **more: Any,
) -> Family[ModelConfig]:
    """Build a family of decoders.

    Args:
        stem: the beginning of its class names; ``lm`` and ``heads`` give their endings.
        rows: makes the names; LLaMA's by default.
        older: other names of keys, and those that the rule reads.
    """

    def read(published: Published, head: HeadKind) -> ModelConfig:
        return checked(rule.read(renamed(published, older or {})) | decoder_head(published, head))

    def write(config: ModelConfig) -> Fields:
        return rule.write(config) | written_labels(config)

    named: dict[str, HeadKind] = {f"{stem}{lm}": "lm"}
    named |= {name: head for name, head in classes(stem, heads or DECODER).items() if head != "lm"}
    return Family(name, model_types or (name,), named, read, write, rows or llama_rows, prefix, **more)


def renamed(published: Published, older: Mapping[str, str]) -> Published:
    """Return a configuration with older key names replaced, where the newer ones are absent."""
    return {older[key]: value for key, value in published.items() if key in older} | {
        key: value for key, value in published.items() if key not in older
    }


def llama_rows(config: ModelConfig) -> list[Row]:
    """Return LLaMA's tensor names; layers that a configuration lacks are left out when the table is used."""
    rows = layer("embedding", "model.embed_tokens") + layer("norm", "model.norm", bias=True)
    rows += decoder_head_rows(config) + attention_rows() + feedforward_rows()
    return rows + norm_rows("input_layernorm", "post_attention_layernorm")


def norm_rows(mixer: str, feedforward: str, theirs: str = THEIRS) -> list[Row]:
    """Return the names of the norms before a block's two parts."""
    first = layer(BLOCK + "mixer_norm", theirs + mixer, bias=True)
    return first + layer(BLOCK + "feedforward_norm", theirs + feedforward, bias=True)


def attention_rows(
    theirs: str = THEIRS + "self_attn.", out: str = "o_proj", norm: str = "norm", qkv: str = "_proj"
) -> list[Row]:
    """Return the names of q, k, v, o, and of the norms of q and k."""
    rows = layer(BLOCK + "mixer.out", theirs + out, bias=True)
    for part in "qkv":
        rows += layer(BLOCK + f"mixer.{part}", theirs + part + qkv, bias=True)
    for part in "qk":
        rows += layer(BLOCK + f"mixer.{part}_norm", theirs + f"{part}_{norm}", bias=True)
    return rows


def feedforward_rows(up: str = "mlp.up_proj", down: str = "mlp.down_proj", theirs: str = THEIRS) -> list[Row]:
    """Return the names of gate, up and down."""
    rows = layer(BLOCK + "feedforward.up", theirs + up, bias=True)
    rows += layer(BLOCK + "feedforward.down", theirs + down, bias=True)
    return rows + layer(BLOCK + "feedforward.gate", theirs + "mlp.gate_proj", bias=True)


_BIASES = (flag("attention_bias", "qkv_bias", "out_bias"), flag("mlp_bias", "mlp_bias"))
LLAMA = make_family("llama", "Llama", decoder_rule(activation("hidden_act", GELU), rope(), *_BIASES))
