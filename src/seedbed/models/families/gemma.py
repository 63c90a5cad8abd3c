"""Gemma 1, 2 and 3 (Mesnard et al. 2024; Riviere et al. 2024; Kamath et al. 2025): RMSNorm by 1 + weight, scaled
embeddings; from 2 on norms around both parts of a block and every second (sixth) layer without a window; 2 caps
scores and logits; 3 has norms on q and k and another rotary base in windows. Of Gemma 3 with images, the text part."""

from __future__ import annotations

from dataclasses import replace

from seedbed.models.config import HeadKind, ModelConfig
from seedbed.models.families.base import Fields, Published, Rule, fixed, flag, nullable, only, same, whole
from seedbed.models.families.llama import LLAMA_NAMES, decoder_rule, make_family
from seedbed.models.families.rules import GELU, activation, known_activation, rope, windows

_SANDWICH_NORMS = {
    "mixer_norm": "input_layernorm",
    "mixer_end_norm": "post_attention_layernorm",
    "feedforward_norm": "pre_feedforward_layernorm",
    "feedforward_end_norm": "post_feedforward_layernorm",
}
_SANDWICH_NAMES = replace(LLAMA_NAMES, inner=LLAMA_NAMES.inner | _SANDWICH_NORMS)


def _first_activation() -> Rule:
    """Map the activation: the first Gemma's files say "gelu" and mean the tanh approximation."""

    def read(published: Published) -> Fields:
        name = published.get("hidden_activation") or published.get("hidden_act") or "gelu_pytorch_tanh"
        return {"activation": "gelu_tanh" if name == "gelu" else known_activation(name)}

    written = activation("hidden_act", {name: theirs for name, theirs in GELU.items() if name != "gelu"}).write
    return Rule(read, lambda config: written(config) | {"hidden_activation": written(config)["hidden_act"]})


def _score_scale() -> Rule:
    def read(published: Published) -> Fields:
        return {"attention_scale": float(published.get("query_pre_attn_scalar", 256)) ** -0.5}

    def write(config: ModelConfig) -> Fields:
        scale = config.head_size**-0.5 if config.attention_scale is None else config.attention_scale
        return {"query_pre_attn_scalar": round(scale**-2)}

    return Rule(read, write)


def _every(size: int) -> Rule:
    """Map windows; where a file lists no layers, one in ``size`` sees everything."""

    def kinds(published: Published) -> list[str]:
        layers, period = whole(published, "num_hidden_layers", 10_000), published.get("sliding_window_pattern", size)
        return ["sliding_attention" if (layer + 1) % period else "full_attention" for layer in range(layers)]

    return windows(kinds=kinds, default=4096)


_SHARED = (
    Rule(lambda published: {"embedding_scale": whole(published, "hidden_size") ** 0.5}),
    flag("attention_bias", "qkv_bias", "out_bias"),
    only(use_bidirectional_attention=False),
    fixed(norm="rms1"),
    same("head_dim", "head_dim", 256, written="head_size"),
)
_CAPPED = (activation("hidden_activation", GELU, "gelu_pytorch_tanh"), _score_scale(), fixed(norm_place="sandwich"))
GEMMA = make_family("gemma", "Gemma", decoder_rule(*_SHARED, _first_activation(), rope(), tie=True))
GEMMA2 = make_family(
    "gemma2",
    "Gemma2",
    decoder_rule(
        *_SHARED,
        *_CAPPED,
        rope(),
        _every(2),
        nullable("attention_cap", "attn_logit_softcapping", 50.0),
        nullable("logit_cap", "final_logit_softcapping", 30.0),
        tie=True,
    ),
    _SANDWICH_NAMES,
)
_GEMMA3_RULE = decoder_rule(
    *_SHARED,
    *_CAPPED,
    rope(1e6, local="rope_local_base_freq", local_theta=1e4),
    _every(6),
    nullable("attention_cap", "attn_logit_softcapping", None),
    nullable("logit_cap", "final_logit_softcapping", None),
    fixed(qk_norm=True),
    tie=True,
)
_GEMMA3_DEFAULTS = {  # sizes that files with images leave out of their text part
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
}
_TEXT = make_family(
    "gemma3",
    "Gemma3",
    _GEMMA3_RULE,
    _SANDWICH_NAMES,
    model_types=("gemma3_text", "gemma3"),
    prefixes=("language_model.model.", "model.language_model."),
    heads={"TextForSequenceClassification": "sequence", "TextModel": "none"},
)


def _read(published: Published, head: HeadKind) -> ModelConfig:
    return _TEXT.read({**_GEMMA3_DEFAULTS, **(published.get("text_config") or published)}, head)


GEMMA3 = replace(
    _TEXT,
    read=_read,
    architectures={**_TEXT.architectures, "Gemma3ForConditionalGeneration": "lm", "Gemma3Model": "none"},
)
