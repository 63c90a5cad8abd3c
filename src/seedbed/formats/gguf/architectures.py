"""llama.cpp's architectures as families: GGUF metadata ⇄ our configuration, and GGUF's names.

Settings that an architecture cannot express are found as for every family, by reading back what was written. llama.cpp
computes every GELU by its tanh approximation and applies sliding windows in Gemma only; :meth:`Architecture.expressed`
converts others.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from seedbed.formats.gguf.rope import rope
from seedbed.formats.gguf.rules import (
    NAMES,
    VOCABULARY,
    biases,
    epsilon,
    experts,
    number,
    periodic_windows,
    shape,
    windows_unseen,
)
from seedbed.formats.gguf.tensor_names import gguf_rows
from seedbed.models.config import HeadKind, ModelConfig
from seedbed.models.factory import skeleton
from seedbed.models.families.base import Family, Fields, Published, Rule, choice, fixed, together
from seedbed.models.families.rules import PLAIN
from seedbed.models.families.weight_mapping import Row, expand

_GELU = ("gelu", "gelu_tanh")


@dataclass(frozen=True)
class Architecture:
    """One of llama.cpp's architectures."""

    family: Family[ModelConfig]  # its rules, under llama.cpp's name
    published: str | None  # the Hugging Face family that is preferred for what is read; None where several fit
    activation: str  # what a GELU in it is on Hugging Face's side
    windows: bool  # llama.cpp applies sliding windows
    scaled: bool  # the file leaves attention's scale to the architecture, but ours is given as a number
    own_output: bool  # llama.cpp wants an output embedding in the file, even if it is the input embedding

    def expressed(self, config: ModelConfig) -> ModelConfig:
        """Return a configuration as this architecture expresses it, where another means the same to llama.cpp.

        Windows that all layers have become the context's length, within which they hide nothing.
        """
        usual = config.head_size**-0.5
        scale = config.attention_scale if config.attention_scale is not None else usual
        changes: Fields = {"attention_scale": scale if self.scaled or scale != usual else None, "position_offset": 0}
        slides = {config.mixer(layer) for layer in range(config.n_layers)} == {"sliding"}
        if slides and not self.windows and config.window is not None:
            changes |= {"mixers": ("attention",), "window": None, "max_length": min(config.max_length, config.window)}
        if config.activation in _GELU and self.activation in _GELU:
            changes["activation"] = self.activation
        if config.experts is not None:
            width = config.experts.hidden or config.hidden
            plain = width == config.hidden and self.family.name == "llama"
            changes["experts"] = dataclasses.replace(config.experts, hidden=None if plain else width)
        if config.head == "none":
            changes["tied"] = True
        elif self.own_output:
            changes["tied"] = False
        return dataclasses.replace(config, **changes)


def _architecture(
    name: str,
    *rules: Rule,
    published: str | None = "",
    head: HeadKind = "lm",
    windows: bool = False,
    scaled: bool = False,
    own_output: bool = False,
    rows: dict[str, bool] | None = None,
    activation: str = "silu",
    **ours: Any,
) -> Architecture:
    """Build an architecture from its rules, the fields that all its models share, and how its names differ.

    ``published``: the family on Hugging Face's side, by default one of the same name; None where several fit.
    """
    rule = together(shape(), fixed(head=head, activation=activation, **ours), *rules)

    def table(config: ModelConfig) -> list[Row]:
        return gguf_rows(config, **(rows or {}))

    def read(metadata: Published, head: HeadKind) -> ModelConfig:
        return ModelConfig(**rule.read(metadata))

    def write(config: ModelConfig) -> Fields:
        model = skeleton(dataclasses.replace(config, n_layers=1, experts=None))  # tells which biases there are
        names = frozenset(
            row.theirs for row in expand(table(config), model) if not model.shared().keys() & set(row.ours)
        )
        return rule.write(config) | {NAMES: names, VOCABULARY: config.vocab_size}

    family = Family(name, (name,), {name: head}, read, write, table, ignored=r"^rope_(freqs|factors_\w+)\.weight$")
    return Architecture(family, name if published == "" else published, activation, windows, scaled, own_output)


def _scale(large: int) -> Rule:
    """Compute Gemma's attention scale: by the head's size, or the width per head in the model with ``large`` layers."""

    def read(metadata: Published) -> Fields:
        by_width = metadata["embedding_length"] / metadata["attention.head_count"]
        size = by_width if metadata["block_count"] == large else metadata.get("attention.key_length", by_width)
        return {"attention_scale": math.pow(size, -0.5)}

    return Rule(read)


def _segments() -> Rule:
    key = "tokenizer.ggml.token_type_count"  # the only key of these that is not the architecture's own

    def read(metadata: Published) -> Fields:
        return {"segments": int(metadata.get(key, 0)) if "token_types.weight" in metadata[NAMES] else 0}

    return Rule(read, lambda config: {key: config.segments} if config.segments else {})


_POOLS = ("none", "mean", "first", "last")  # by llama.cpp's number
_POOLING = Rule(
    lambda metadata: {"pool": dict(enumerate(_POOLS[1:], 1)).get(metadata.get("pooling_type", 0), "first")},
    lambda config: {"pooling_type": _POOLS.index(config.pool)},
)
_RMS, _LAYER = epsilon("layer_norm_rms"), epsilon("layer_norm")
_SCALED_EMBEDDING = Rule(lambda metadata: {"embedding_scale": metadata["embedding_length"] ** 0.5})
_TENSOR_BIASES = biases(qkv_bias="blk.0.attn_q.bias", out_bias="blk.0.attn_output.bias", mlp_bias="blk.0.ffn_up.bias")
_GEMMA: dict[str, Any] = {"norm": "rms1", "activation": "gelu_tanh", "tied": True}
_GEMMA_2 = _GEMMA | {"windows": True, "scaled": True, "norm_place": "sandwich"}
_FUSED = {"fused_qkv": True}
_ATTENTION_CAP = number("attention_cap", "attn_logit_softcapping")
_LOGIT_CAP = number("logit_cap", "final_logit_softcapping")

ARCHITECTURES: tuple[Architecture, ...] = (  # in the order in which one is sought for a model of ours
    _architecture(
        "llama",
        *(_RMS, rope(), _TENSOR_BIASES, experts("feed_forward_length"), windows_unseen),
        published=None,
        rows={"interleaved": True},
    ),
    _architecture("qwen3", _RMS, rope(), qk_norm=True),
    _architecture("qwen2", _RMS, rope(), qkv_bias=True),
    _architecture("qwen3moe", _RMS, rope(), experts("expert_feed_forward_length"), published="qwen3_moe", qk_norm=True),
    _architecture("gemma", _RMS, rope(), _SCALED_EMBEDDING, **_GEMMA),
    _architecture(
        "gemma2",
        *(_RMS, rope(), _SCALED_EMBEDDING, _scale(46), periodic_windows(2), _ATTENTION_CAP, _LOGIT_CAP),
        **_GEMMA_2,
    ),
    _architecture(
        "gemma3",
        *(_RMS, rope(10000.0), _SCALED_EMBEDDING, _scale(62), periodic_windows(6), _LOGIT_CAP),
        qk_norm=True,
        **_GEMMA_2,
    ),
    _architecture("phi3", _RMS, rope(), windows_unseen, rows={"fused_qkv": True, "fused_gate": True}),
    _architecture(
        "phi2",
        *(_LAYER, rope()),
        published="phi",
        own_output=True,
        norm_place="shared",
        head_bias=True,
        activation="gelu_tanh",
        **PLAIN,
    ),
    _architecture(
        "starcoder2",
        *(_LAYER, rope(), _TENSOR_BIASES, windows_unseen),
        norm="layer",
        mlp="plain",
        activation="gelu_tanh",
    ),
    _architecture(
        "gptneox",
        *(_LAYER, rope(), choice("norm_place", "use_parallel_residual", "parallel", "pre", default=True)),
        published="gpt_neox",
        own_output=True,
        rows=_FUSED,
        activation="gelu",
        **PLAIN,
    ),
    _architecture("bloom", _LAYER, rows=_FUSED, activation="gelu_tanh", position="alibi", embedding_norm=True, **PLAIN),
    _architecture("gpt2", _LAYER, rows=_FUSED, activation="gelu_tanh", position="learned", **PLAIN),
    _architecture(
        "bert",
        *(_LAYER, _segments(), _POOLING, Rule(lambda metadata: {}, lambda config: {"attention.causal": False})),
        head="none",
        activation="gelu",
        causal=False,
        norm_place="post",
        final_norm=False,
        position="learned",
        embedding_norm=True,
        **PLAIN,
    ),
)
