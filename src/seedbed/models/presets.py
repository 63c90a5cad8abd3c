"""Named shapes: published models as configurations, for plans and tests, and our default with depth as its one dial."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from seedbed.core.config import parse
from seedbed.core.errors import UsageError
from seedbed.models.config import AnyConfig, ModelConfig
from seedbed.models.families.registry import read_published

_SHAPES = Path(__file__).with_name("published_shapes.toml")


@cache
def presets() -> Mapping[str, AnyConfig]:
    """Return the configurations of well-known models by name, read from ``published_shapes.toml``."""
    tables = tomllib.loads(_SHAPES.read_text(encoding="utf-8"))
    return {
        name: read_published(table)[1] if "model_type" in table else parse(ModelConfig, table)
        for name, table in tables.items()
    }


def preset(name: str) -> ModelConfig:
    """Return the shape of a published language model by name; raises UsageError if there is none."""
    decoders = {
        name: shape for name, shape in presets().items() if isinstance(shape, ModelConfig) and shape.head == "lm"
    }
    if name not in decoders:
        raise UsageError(
            f"there is no preset {name!r}", why=f"they are {', '.join(decoders)}", fix="choose one of them"
        )
    return decoders[name]


def default_model(depth: int, vocab_size: int, context: int, **changes: Any) -> ModelConfig:
    """Return our default shape: RMSNorm, RoPE, grouped-query attention, gated MLP, tied embeddings, QK norm.

    ``depth``: blocks; the width is 64 a block, with one query head per 64 channels and half as many key/value heads.
    ``changes``: fields to set otherwise; raises ValueError where two fields contradict.
    """
    return ModelConfig(**default_shape(depth, vocab_size, context, **changes))


def default_shape(depth: int, vocab_size: int, context: int, **changes: Any) -> dict[str, Any]:
    """Return the fields of :func:`default_model`, not yet checked."""
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
