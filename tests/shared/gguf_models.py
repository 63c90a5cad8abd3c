"""Small random models of every architecture that is written as GGUF, for the tests of those files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from seedbed.formats.gguf.file import open_gguf
from seedbed.formats.gguf.model import gguf_metadata, model_weights, read_shape, write_gguf_parts
from seedbed.models.config import ModelConfig
from seedbed.models.factory import AnyModel, new_model, skeleton
from seedbed.models.families.weight_mapping import fill
from seedbed.nn.experts import ExpertsConfig
from seedbed.nn.position import RopeScaling

VOCABULARY = 120
BASE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 48,
    "n_layers": 3,
    "n_heads": 6,
    "n_kv_heads": 2,
    "d_ff": 72,
    "max_length": 64,
    "norm_eps": 1e-5,
}
GELU_MODEL = {"norm": "layer", "mlp": "plain", "activation": "gelu_tanh", "qkv_bias": True, "out_bias": True}
GELU_MODEL |= {"mlp_bias": True, "n_kv_heads": None}
BERT = {**GELU_MODEL, "activation": "gelu", "norm_place": "post", "final_norm": False, "position": "learned"}
BERT |= {"embedding_norm": True, "segments": 2, "causal": False, "head": "none", "pool": "mean", "norm_eps": 1e-12}
GEMMA = {"norm": "rms1", "activation": "gelu_tanh", "embedding_scale": 48**0.5, "head_dim": 12}
SANDWICH = {**GEMMA, "norm_place": "sandwich", "window": 9, "attention_scale": 12**-0.5, "logit_cap": 20.0}
MIXTURE = ExpertsConfig(5, 2)
LONG = tuple(1 + 0.3 * number for number in range(4))
FAMILIES = {"qwen2": "qwen2", "phi3": "phi3"}
"""Where another architecture could say it too."""
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"tied": False}),
    "llama, tied": ("llama", {"rope_theta": 5e5}),
    "llama with heads of their own size": ("llama", {"head_dim": 10}),
    "llama with biases": ("llama", {"qkv_bias": True, "out_bias": True, "mlp_bias": True}),
    "llama 3.1's scaling": ("llama", {"rope_scaling": RopeScaling("llama3", 8.0, 32), "max_length": 256}),
    "linear scaling": ("llama", {"rope_scaling": RopeScaling("linear", 4.0, 64)}),
    "yarn": ("llama", {"rope_scaling": RopeScaling("yarn", 4.0, 16)}),
    "mistral's windows": ("llama", {"mixers": ("sliding",), "window": 40}),
    "mixtral": ("llama", {"experts": MIXTURE}),
    "qwen2": ("qwen2", {"qkv_bias": True, "tied": False}),
    "qwen3": ("qwen3", {"qk_norm": True, "head_dim": 10}),
    "qwen3moe": ("qwen3moe", {"qk_norm": True, "experts": dataclasses.replace(MIXTURE, hidden=40), "head_dim": 10}),
    "gemma": ("gemma", GEMMA),
    "gemma2": ("gemma2", {**SANDWICH, "mixers": ("sliding", "attention"), "attention_cap": 5.0}),
    "gemma3": (
        "gemma3",
        {
            **SANDWICH,
            "mixers": ("sliding", "sliding", "attention"),
            "qk_norm": True,
            "rope_theta": 1e6,
            "rope_theta_local": 1e4,
            "rope_scaling": RopeScaling("linear", 8.0, 64),
        },
    ),
    "phi3": ("phi3", {"tied": False}),
    "phi3 with long factors": (
        "phi3",
        {"rope_scaling": RopeScaling("longrope", 4.0, 16, factors=LONG, short_factors=LONG)},
    ),
    "phi2": ("phi2", {**GELU_MODEL, "norm_place": "shared", "head_bias": True, "tied": False, "rope_share": 0.5}),
    "starcoder2": ("starcoder2", {**GELU_MODEL, "n_kv_heads": 2}),
    "gptneox": ("gptneox", {**GELU_MODEL, "norm_place": "parallel", "rope_share": 0.5, "activation": "gelu"}),
    "bloom": ("bloom", {**GELU_MODEL, "position": "alibi", "embedding_norm": True, "d_ff": None}),
    "gpt2": ("gpt2", {**GELU_MODEL, "position": "learned"}),
}


def vocabulary() -> dict[str, Any]:
    """A small SentencePiece vocabulary: llama.cpp wants one, and we give it ids."""
    tokens = ["<unk>", "<s>", "</s>", *(f"w{number}" for number in range(3, VOCABULARY))]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [-float(number) for number in range(len(tokens))],
        "tokenizer.ggml.token_type": [2, 3, 3, *[1] * (len(tokens) - 3)],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def random_model(config: ModelConfig) -> AnyModel:
    """Weights large enough that every part matters, norms and biases away from 1 and 0."""
    model, generator = new_model(config), torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        draw = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            middle = 1.0 if name.endswith("norm.weight") and config.norm != "rms1" else 0.0
            parameter.data.copy_(middle + 0.3 * draw)
        else:
            parameter.data.copy_(draw * (1.0 if "embedding" in name else parameter.shape[1] ** -0.5))
    return model.eval()


def exported(path: Path, case: str, quantization: Any) -> AnyModel:
    """A random model written to a file by us."""
    architecture, fields = CONFIGS[case]
    model = random_model(ModelConfig(**BASE | fields))
    family = FAMILIES.get(architecture)
    assert gguf_metadata(model.config, family)[0].family.name == architecture
    write_gguf_parts(path, model, vocabulary(), quantization, family=family)
    return model


def reopened(path: Path, dtype: torch.dtype = torch.float32) -> AnyModel:
    """The model that a GGUF file holds."""
    file = open_gguf(path)
    architecture, config = read_shape(file)
    model = skeleton(config)
    assert fill(model, model_weights(file), architecture.family.table(config), dtype=dtype) == ()
    return model.eval()
