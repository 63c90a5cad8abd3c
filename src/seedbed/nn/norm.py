"""Normalisation layers: RMSNorm (Zhang & Sennrich 2019) and LayerNorm (Ba et al. 2016)."""

from __future__ import annotations

from typing import Literal

from torch import nn

NormKind = Literal["rms", "layer"]


def make_norm(kind: NormKind, size: int, eps: float) -> nn.Module:
    """A norm over the last axis of length ``size``, with a learned gain (and for "layer" a bias)."""
    return nn.RMSNorm(size, eps=eps) if kind == "rms" else nn.LayerNorm(size, eps=eps)
