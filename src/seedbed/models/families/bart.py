"""BART (Lewis et al. 2020), and Marian (Junczys-Dowmunt et al. 2018), whose models are the Transformer of 2017: norms
after each part, sinusoids, one table of tokens for both halves and the output."""

from __future__ import annotations

from typing import Any

from seedbed.models.config import EncoderDecoderConfig, HeadKind, ModelConfig
from seedbed.models.families.base import (
    Family,
    Fields,
    Inexpressible,
    Published,
    Rule,
    checked,
    constant,
    only,
    same,
    together,
)
from seedbed.models.families.llama import BLOCK
from seedbed.models.families.rules import GELU, PLAIN, activation, tied
from seedbed.models.families.weight_mapping import SAME, Conversion, Row, layers

_SIZES = {"n_layers": "layers", "n_heads": "attention_heads", "d_ff": "ffn_dim"}
_FLAT = Conversion(lambda theirs, shapes: [theirs.flatten()], lambda ours: ours[0][None])
"""The output's bias is stored as (1, V)."""
_SHAPE = PLAIN | {"norm_eps": 1e-5, "norm_place": "post", "final_norm": False, "head_bias": True}
_OUTER = {"position": "embed_positions", "embedding_norm": "layernorm_embedding", "embedding": "embed_tokens"}
_INNER = {
    **{f"mixer.{part}": f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")},
    **{f"cross.{part}": f"encoder_attn.{part}_proj" for part in ("q", "k", "v", "out")},
    "mixer_norm": "self_attn_layer_norm",
    "cross_norm": "encoder_attn_layer_norm",
    "feedforward_norm": "final_layer_norm",
    "feedforward.up": "fc1",
    "feedforward.down": "fc2",
}
_SCALED = Rule(
    lambda published: {"embedding_scale": published["d_model"] ** 0.5 if published.get("scale_embedding") else None},
    lambda config: {"scale_embedding": config.embedding_scale is not None},
)


@Rule
def _one_vocabulary(published: Published) -> Fields:
    """Refuse halves with a vocabulary each, which Marian allows and our blocks cannot do."""
    if published.get("decoder_vocab_size") not in (None, published["vocab_size"]):
        raise Inexpressible("its two halves have vocabularies of their own, which is not known here")
    return {}


def make_pair(
    name: str, architectures: dict[str, HeadKind], rule: Rule, unlike: dict[str, Any], **family: Any
) -> Family[EncoderDecoderConfig]:
    """Build a family of encoder–decoders with BART's names; ``unlike``: fields in which families differ."""

    def read(published: Published, head: HeadKind) -> EncoderDecoderConfig:
        shape = _SHAPE | unlike | rule.read(published)

        def half(which: str, **own: Any) -> ModelConfig:
            return checked(shape | {ours: published[f"{which}_{theirs}"] for ours, theirs in _SIZES.items()} | own)

        return EncoderDecoderConfig(half("encoder", causal=False, head="none"), half("decoder", cross=True))

    def write(config: EncoderDecoderConfig) -> Fields:
        written = rule.write(config.decoder) | {"is_encoder_decoder": True}
        for which, half in (("encoder", config.encoder), ("decoder", config.decoder)):
            written |= {f"{which}_layers": half.n_layers, f"{which}_attention_heads": half.n_heads}
            written[f"{which}_ffn_dim"] = half.hidden
        return written

    return Family(name, (name,), architectures, read, write, bart_rows, prefix="model.", **family)


def bart_rows(config: EncoderDecoderConfig) -> list[Row]:
    """Return the tensor names below ``model.``; the table of tokens may be there four times."""
    rows = layers({"decoder.embedding": "model.shared"})
    rows.append(Row(("decoder.output.weight",), "lm_head.weight", SAME))
    rows.append(Row(("decoder.output.bias",), "final_logits_bias", _FLAT, optional=True))
    for half in ("encoder.", "decoder."):
        rows += layers(_OUTER, half, f"model.{half}") + layers(_INNER, half + BLOCK, f"model.{half}layers.{{i}}.")
    return rows


_POST_NORM = {"normalize_before": False, "add_final_layer_norm": False}
_SHARED = (
    same("vocab_size", "vocab_size"),
    same("d_model", "d_model"),
    same("max_length", "max_position_embeddings"),
    activation("activation_function", {**GELU, "silu": "swish"}, "gelu"),
    tied(True),
    _SCALED,
)
BART = make_pair(
    "bart",
    {"BartForConditionalGeneration": "lm", "BartModel": "lm"},
    together(
        *_SHARED,
        # of files from before these were always so
        only(normalize_embedding=True, static_position_embeddings=False, **_POST_NORM),
    ),
    {"position": "learned", "position_offset": 2, "embedding_norm": True},
)
MARIAN = make_pair(
    "marian",
    {"MarianMTModel": "lm", "MarianModel": "lm"},
    together(
        *_SHARED,
        _one_vocabulary,
        constant(share_encoder_decoder_embeddings=True),
        only(normalize_embedding=False, static_position_embeddings=True, **_POST_NORM),
    ),
    {"position": "sinusoidal"},
    ignored=r"\bembed_positions\.weight$",  # sinusoids are computed
)
