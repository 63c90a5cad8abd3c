"""Named shapes: published models as behaviour, for plans and tests, and our default with depth as its one dial."""

from __future__ import annotations

from typing import Any

from seedbed.core.errors import UsageError
from seedbed.models.config import AnyConfig, ModelConfig
from seedbed.models.families.registry import read_published
from seedbed.models.published_shapes import PUBLISHED

_GPT: dict[str, Any] = {
    "norm": "layer",
    "norm_eps": 1e-5,
    "mlp": "plain",
    "activation": "gelu_tanh",
    "position": "learned",
    "qkv_bias": True,
    "out_bias": True,
    "mlp_bias": True,
}


def _gpt2(width: int, layers: int, heads: int) -> ModelConfig:
    """Radford et al. 2019, table 2."""
    return ModelConfig(50257, width, layers, heads, max_length=1024, **_GPT)


PRESETS: dict[str, AnyConfig] = {
    # Radford et al. 2018: post-norm, BPE of 40,000 merges, 512 positions
    "gpt1": ModelConfig(40478, 768, 12, 12, max_length=512, norm_place="post", final_norm=False, **_GPT),
    "gpt2": _gpt2(768, 12, 12),
    "gpt2-medium": _gpt2(1024, 24, 16),
    "gpt2-large": _gpt2(1280, 36, 20),
    "gpt2-xl": _gpt2(1600, 48, 25),
    # Brown et al. 2020, table 2.1 (its alternating sparse attention changes no parameter)
    "gpt3": ModelConfig(50257, 12288, 96, 96, head_dim=128, max_length=2048, **_GPT),
}
PRESETS |= {name: read_published(published)[1] for name, published in PUBLISHED.items()}


def preset(name: str) -> ModelConfig:
    """The shape of a published language model by name.

    Raises:
        UsageError: there is no such preset.
    """
    writers = {name: shape for name, shape in PRESETS.items() if isinstance(shape, ModelConfig) and shape.head == "lm"}
    if name not in writers:
        raise UsageError(f"there is no preset {name!r}", why=f"they are {', '.join(writers)}", fix="choose one of them")
    return writers[name]


def default_model(depth: int, vocab_size: int, context: int, **changes: Any) -> ModelConfig:
    """Our default shape: RMSNorm, RoPE, grouped-query attention, gated MLP, tied embeddings, QK norm.

    Args:
        depth: blocks; the width is 64 a block, with one query head per 64 channels and half as many key/value heads.
        changes: fields to set otherwise.

    Raises:
        ValueError: two fields contradict.
    """
    return ModelConfig(**default_shape(depth, vocab_size, context, **changes))


def default_shape(depth: int, vocab_size: int, context: int, **changes: Any) -> dict[str, Any]:
    """The fields of :func:`default_model`, not yet checked."""
    width = changes.get("d_model", 64 * depth)
    heads = changes.get("n_heads", max(1, width // 64))
    shape = {
        "vocab_size": vocab_size,
        "d_model": width,
        "n_layers": depth,
        "n_heads": heads,
        "n_kv_heads": heads // 2 if heads % 2 == 0 else heads,
        "max_length": context,
        "qk_norm": True,
    }
    return shape | changes
