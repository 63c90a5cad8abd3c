"""T5 (Raffel et al. 2020), T5 1.1 and FLAN-T5 (Chung et al. 2022): learned biases by distance in place of positions,
scores that are not scaled. Files of 1.1 say ``tie_word_embeddings: false`` and mean that hidden states are not scaled
before the output embedding; whether that is the input's depends on the file (see ``tied_embeddings.py``)."""

from __future__ import annotations

from dataclasses import replace

from seedbed.models.config import EncoderDecoderConfig, HeadKind
from seedbed.models.families.base import Family, Fields, Inexpressible, Published, checked
from seedbed.models.families.llama import BLOCK
from seedbed.models.families.rules import known_activation
from seedbed.models.families.weight_mapping import Row, layers

_NAMES = {
    "vocab_size": "vocab_size",
    "d_model": "d_model",
    "n_heads": "num_heads",
    "head_dim": "d_kv",
    "d_ff": "d_ff",
    "relative_buckets": "relative_attention_num_buckets",
}
_DEFAULTS = {"relative_distance": ("relative_attention_max_distance", 128), "norm_eps": ("layer_norm_epsilon", 1e-6)}
_WRITTEN = {"gelu": "gelu", "gelu_tanh": "gelu_new", "silu": "silu", "relu": "relu"}
_HALF = {
    "embedding": "embed_tokens",
    "norm": "final_layer_norm",
    "relative.table": "block.0.layer.0.SelfAttention.relative_attention_bias",
}


def _read(published: Published, head: HeadKind) -> EncoderDecoderConfig:
    shape = {ours: published[theirs] for ours, theirs in _NAMES.items()}
    shape |= {ours: published.get(theirs, default) for ours, (theirs, default) in _DEFAULTS.items()}
    shape |= {"norm": "rms", "position": "relative", "attention_scale": 1.0}
    shape |= {"max_length": published.get("n_positions") or 512} | _feedforward(published)
    untied = published.get("tie_word_embeddings") is False
    scaled = published.get("scale_decoder_outputs", not untied)
    layers = published["num_layers"]
    encoder = checked(shape | {"n_layers": layers, "causal": False, "head": "none"})
    deep = {"n_layers": published.get("num_decoder_layers") or layers, "cross": True, "tied": not untied}
    scale = encoder.d_model**-0.5 if scaled else None
    return EncoderDecoderConfig(encoder, checked(shape | deep | {"logit_scale": scale}))


def _feedforward(published: Published) -> Fields:
    """Read relu, or gated-gelu, which means the tanh approximation."""
    first, dash, rest = str(published.get("feed_forward_proj") or "relu").partition("-")
    if dash and first != "gated":
        raise Inexpressible(f"feed_forward_proj is {published['feed_forward_proj']!r}; gated-… is known")
    gelu = bool(dash) and rest == "gelu"
    return {"mlp": "gated" if dash else "plain", "activation": "gelu_tanh" if gelu else known_activation(rest or first)}


def _write(config: EncoderDecoderConfig) -> Fields:
    decoder = config.decoder
    written: Fields = {theirs: getattr(decoder, ours) for ours, theirs in _NAMES.items()}
    written |= {theirs: getattr(decoder, ours) for ours, (theirs, _) in _DEFAULTS.items()}
    kind = _WRITTEN[decoder.activation]
    if decoder.mlp == "gated":
        kind = f"gated-{'gelu' if kind == 'gelu_new' else kind}"
    return written | {
        "d_ff": decoder.hidden,
        "d_kv": decoder.head_size,
        "n_positions": decoder.max_length,
        "num_layers": config.encoder.n_layers,
        "num_decoder_layers": decoder.n_layers,
        "feed_forward_proj": kind,
        "is_encoder_decoder": True,
        "tie_word_embeddings": decoder.tied,
        "scale_decoder_outputs": decoder.logit_scale is not None,
    }


def t5_rows(config: EncoderDecoderConfig) -> list[Row]:
    """Return both halves' tensor names; the table of tokens may be there three times."""
    rows = layers({"decoder.embedding": "shared", "decoder.output": "lm_head"})
    up = "wi_1" if config.decoder.mlp == "gated" else "wi"
    feedforward = {"gate": "wi_0", "up": up, "down": "wo"}
    for half, last in (("encoder.", 1), ("decoder.", 2)):
        block = _attention("mixer", "0.", "SelfAttention") | _attention("cross", "1.", "EncDecAttention")
        block |= {"feedforward_norm": f"{last}.layer_norm"}
        block |= {f"feedforward.{ours}": f"{last}.DenseReluDense.{theirs}" for ours, theirs in feedforward.items()}
        rows += layers(_HALF, half, half) + layers(block, half + BLOCK, half + "block.{i}.layer.")
    return rows


def _attention(ours: str, theirs: str, name: str) -> dict[str, str]:
    parts = {f"{ours}.{part}": f"{theirs}{name}.{part[0]}" for part in ("q", "k", "v", "out")}
    return parts | {f"{ours}_norm": f"{theirs}layer_norm"}


T5 = Family(
    "t5",
    ("t5",),
    {"T5ForConditionalGeneration": "lm", "T5Model": "lm", "T5WithLMHeadModel": "lm"},
    _read,
    _write,
    t5_rows,
    always_tied=True,
    # cross-attention's bias is in the first files, and was never used
    ignored=r"^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.weight$",
)
MT5 = replace(
    T5,
    name="mt5",
    read=lambda published, head: _read({**published, "scale_decoder_outputs": False}, head),
    model_types=("mt5",),
    architectures={"MT5ForConditionalGeneration": "lm", "MT5Model": "lm"},
)
