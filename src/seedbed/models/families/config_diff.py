"""Differences between two configurations, without fields that change nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from seedbed.models.config import ModelConfig


def differences(config: Any, back: Any, prefix: str = "") -> list[str]:
    """Return the fields in which two configurations differ; a field that changes nothing in either does not count."""
    names = []
    for one in dataclasses.fields(config):
        if one.name in ("encoder", "decoder"):
            names += differences(getattr(config, one.name), getattr(back, one.name), f"{one.name}.")
        elif _plain(config, one.name) != _plain(back, one.name):
            names.append(prefix + one.name)
    return names


_NEEDS: dict[str, Callable[[ModelConfig], bool]] = {  # the condition under which a field changes anything
    "dropout": lambda config: False,  # matters in training only
    "window": lambda config: "sliding" in config.mixers,
    "position_offset": lambda config: config.position == "learned",
    "rope_theta": lambda config: config.position == "rope",
    "rope_theta_local": lambda config: config.position == "rope" and "sliding" in config.mixers,
    "rope_share": lambda config: config.position == "rope",
    "rope_scaling": lambda config: config.position == "rope",
    "relative_buckets": lambda config: config.position == "relative",
    "relative_distance": lambda config: config.position == "relative",
    "dense_layers": lambda config: config.experts is not None,
    "head_bias": lambda config: config.head != "none",
    "head_dense": lambda config: config.head in ("sequence", "token", "span"),
    "head_activation": lambda config: config.head_dense,
    "labels": lambda config: config.head in ("sequence", "token"),
    "pool": lambda config: config.head == "sequence",
    "tied": lambda config: config.head in ("lm", "mlm"),
    "logit_scale": lambda config: config.head == "lm",
    "logit_cap": lambda config: config.head == "lm",
}
_MEANT = {"n_kv_heads": "kv_heads", "head_dim": "head_size", "d_ff": "hidden"}
"""Properties that fill in a field's default."""


def _plain(config: Any, name: str) -> Any:
    """Return a field's value in one spelling, where several mean the same."""
    if name in _NEEDS and not _NEEDS[name](config):
        return None
    if name == "mixers":
        return [config.mixer(layer) for layer in range(config.n_layers)]
    if name == "attention_scale" and config.attention_scale is None:
        return config.head_size**-0.5
    return getattr(config, _MEANT.get(name, name))
