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
from seedbed.models.families.llama import BLOCK, attention_rows, feedforward_rows
from seedbed.models.families.rules import GELU, activation, tied
from seedbed.models.families.weight_mapping import Conversion, Row, layer

_SIZES = {"n_layers": "layers", "n_heads": "attention_heads", "d_ff": "ffn_dim"}
_FLAT = Conversion(lambda theirs, shapes: [theirs.flatten()], lambda ours: ours[0][None])
"""The output's bias is stored as (1, V)."""
_SHAPE: dict[str, Any] = {
    "norm": "layer",
    "norm_eps": 1e-5,
    "norm_place": "post",
    "final_norm": False,
    "mlp": "plain",
    "qkv_bias": True,
    "out_bias": True,
    "mlp_bias": True,
    "head_bias": True,
}


def _scaled() -> Rule:
    def read(published: Published) -> Fields:
        return {"embedding_scale": published["d_model"] ** 0.5 if published.get("scale_embedding") else None}

    return Rule(read, lambda config: {"scale_embedding": config.embedding_scale is not None})


def _one_vocabulary() -> Rule:
    """Refuse halves with a vocabulary each, which Marian allows and our blocks cannot do."""

    def read(published: Published) -> Fields:
        if published.get("decoder_vocab_size") not in (None, published["vocab_size"]):
            raise Inexpressible("its two halves have vocabularies of their own, which is not known here")
        return {}

    return Rule(read, lambda config: {})


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
    rows = layer("decoder.embedding", "model.shared") + layer("decoder.embedding", "model.decoder.embed_tokens")
    rows += layer("encoder.embedding", "model.encoder.embed_tokens") + layer("decoder.output", "lm_head")
    rows.append(Row(("decoder.output.bias",), "final_logits_bias", _FLAT, optional=True))
    for half in ("encoder.", "decoder."):
        theirs = f"model.{half}layers.{{i}}."
        rows += layer(half + "position", f"model.{half}embed_positions")
        rows += layer(half + "embedding_norm", f"model.{half}layernorm_embedding", bias=True)
        inner = attention_rows(theirs + "self_attn.", "out_proj") + feedforward_rows("fc1", "fc2", theirs)
        inner += layer(BLOCK + "mixer_norm", theirs + "self_attn_layer_norm", bias=True)
        inner += layer(BLOCK + "feedforward_norm", theirs + "final_layer_norm", bias=True)
        inner += layer(BLOCK + "cross_norm", theirs + "encoder_attn_layer_norm", bias=True)
        crossed = attention_rows(theirs + "encoder_attn.", "out_proj")
        inner += [Row((row.ours[0].replace("mixer.", "cross."),), row.theirs, row.conversion) for row in crossed]
        rows += [Row((half + row.ours[0],), row.theirs, row.conversion) for row in inner]
    return rows


_POST_NORM = {"normalize_before": False, "add_final_layer_norm": False}
_SHARED = (
    same("vocab_size", "vocab_size"),
    same("d_model", "d_model"),
    same("max_length", "max_position_embeddings"),
    activation("activation_function", {**GELU, "silu": "swish"}, "gelu"),
    tied(True),
    _scaled(),
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
        _one_vocabulary(),
        constant(share_encoder_decoder_embeddings=True),
        only(normalize_embedding=False, static_position_embeddings=True, **_POST_NORM),
    ),
    {"position": "sinusoidal"},
    ignored=r"\bembed_positions\.weight$",  # sinusoids are computed
)
