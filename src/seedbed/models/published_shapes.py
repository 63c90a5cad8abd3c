"""Shapes of well-known models, as their makers' config.json says them; the families read them as they read a file.

Only what decides the shape is here: no tokenizer, no training, no licence.
"""

from __future__ import annotations

from typing import Any


def _shape(kind: str, vocabulary: int, width: int, layers: int, heads: int, hidden: int, **more: Any) -> dict[str, Any]:
    """The entries that most families share."""
    return {
        "model_type": kind,
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": hidden,
        "max_position_embeddings": 2048,
    } | more


def _pair(kind: str, vocabulary: int, width: int, layers: int, heads: int, hidden: int, **more: Any) -> dict[str, Any]:
    """An encoder and a decoder of the same size."""
    halves = {"layers": layers, "attention_heads": heads, "ffn_dim": hidden}
    both = {f"{half}_{name}": value for half in ("encoder", "decoder") for name, value in halves.items()}
    return (
        {"model_type": kind, "vocab_size": vocabulary, "d_model": width, "max_position_embeddings": 1024} | both | more
    )


def _t5(width: int, layers: int, heads: int, hidden: int, **more: Any) -> dict[str, Any]:
    shape = {
        "vocab_size": 32128,
        "d_model": width,
        "d_kv": 64,
        "d_ff": hidden,
        "num_layers": layers,
        "num_heads": heads,
    }
    return {"model_type": "t5", "relative_attention_num_buckets": 32} | shape | more


_LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
_LONG = {"rope_theta": 5e5, "max_position_embeddings": 131072}
_BERT = {"max_position_embeddings": 512, "type_vocab_size": 2}
_OLD = {"activation_function": "relu", "scale_embedding": True}

PUBLISHED: dict[str, dict[str, Any]] = {
    # Touvron et al. 2023, table 2
    "llama-7b": _shape("llama", 32000, 4096, 32, 32, 11008),
    # Grattafiori et al. 2024, table 3
    "llama-3.1-8b": _shape(
        "llama", 128256, 4096, 32, 32, 14336, num_key_value_heads=8, rope_scaling=_LLAMA3, rms_norm_eps=1e-5, **_LONG
    ),
    "llama-3.2-1b": _shape(
        "llama",
        128256,
        2048,
        16,
        32,
        8192,
        num_key_value_heads=8,
        rope_scaling=_LLAMA3 | {"factor": 32.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        **_LONG,
    ),
    # Zhang et al. 2024
    "tinyllama-1.1b": _shape("llama", 32000, 2048, 22, 32, 5632, num_key_value_heads=4),
    # Ben Allal et al. 2025
    "smollm2-135m": _shape(
        "llama", 49152, 576, 30, 9, 1536, num_key_value_heads=3, tie_word_embeddings=True, rope_theta=1e5
    ),
    # Jiang et al. 2023, table 1; Jiang et al. 2024, table 1
    "mistral-7b": _shape(
        "mistral",
        32000,
        4096,
        32,
        32,
        14336,
        num_key_value_heads=8,
        sliding_window=4096,
        max_position_embeddings=32768,
        rms_norm_eps=1e-5,
    ),
    "mixtral-8x7b": _shape(
        "mixtral",
        32000,
        4096,
        32,
        32,
        14336,
        num_key_value_heads=8,
        num_local_experts=8,
        num_experts_per_tok=2,
        max_position_embeddings=32768,
    ),
    # Yang et al. 2024 and 2025
    "qwen2.5-0.5b": _shape(
        "qwen2",
        151936,
        896,
        24,
        14,
        4864,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        rope_theta=1e6,
        max_position_embeddings=32768,
    ),
    "qwen3-0.6b": _shape(
        "qwen3",
        151936,
        1024,
        28,
        16,
        3072,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=True,
        rope_theta=1e6,
        max_position_embeddings=40960,
    ),
    # Riviere et al. 2024, table 1; Kamath et al. 2025
    "gemma-2-2b": _shape(
        "gemma2", 256000, 2304, 26, 8, 9216, num_key_value_heads=4, head_dim=256, max_position_embeddings=8192
    ),
    "gemma-3-1b": _shape(
        "gemma3_text",
        262144,
        1152,
        26,
        4,
        6912,
        num_key_value_heads=1,
        head_dim=256,
        sliding_window=512,
        max_position_embeddings=32768,
    ),
    # Javaheripi et al. 2023; Abdin et al. 2024
    "phi-2": _shape("phi", 51200, 2560, 32, 32, 10240, partial_rotary_factor=0.4),
    "phi-3-mini": _shape("phi3", 32064, 3072, 32, 32, 8192, sliding_window=2047, max_position_embeddings=4096),
    # Lozhkov et al. 2024
    "starcoder2-3b": _shape(
        "starcoder2",
        49152,
        3072,
        30,
        24,
        12288,
        num_key_value_heads=2,
        sliding_window=4096,
        rope_theta=999999.4,
        max_position_embeddings=16384,
    ),
    # Black et al. 2022; Biderman et al. 2023
    "gpt-neox-20b": _shape("gpt_neox", 50432, 6144, 44, 64, 24576, rotary_pct=0.25),
    "pythia-160m": _shape("gpt_neox", 50304, 768, 12, 12, 3072, rotary_pct=0.25),
    # Zhang et al. 2022; Le Scao et al. 2022
    "opt-125m": _shape("opt", 50272, 768, 12, 12, 3072, ffn_dim=3072),
    "bloom-560m": {"model_type": "bloom", "vocab_size": 250880, "hidden_size": 1024, "n_layer": 24, "n_head": 16},
    # Devlin et al. 2019; Liu et al. 2019; Wang et al. 2020 in the form that sentence-transformers publish
    "bert-base": _shape("bert", 30522, 768, 12, 12, 3072, **_BERT),
    "bert-large": _shape("bert", 30522, 1024, 24, 16, 4096, **_BERT),
    "roberta-base": _shape(
        "roberta", 50265, 768, 12, 12, 3072, max_position_embeddings=514, type_vocab_size=1, pad_token_id=1
    ),
    "minilm-l6": _shape("bert", 30522, 384, 6, 12, 1536, architectures=["BertModel"], **_BERT),
    # Raffel et al. 2020, section 3.1 and appendix; Chung et al. 2022
    "t5-small": _t5(512, 6, 8, 2048),
    "t5-base": _t5(768, 12, 12, 3072),
    "flan-t5-base": _t5(768, 12, 12, 2048, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    # Lewis et al. 2020
    "bart-base": _pair("bart", 50265, 768, 6, 12, 3072),
    # Vaswani et al. 2017, table 3, with its vocabulary of about 37,000
    "transformer-base": _pair("marian", 37000, 512, 6, 8, 2048, **_OLD),
    "transformer-big": _pair("marian", 37000, 1024, 6, 16, 4096, **_OLD),
}
