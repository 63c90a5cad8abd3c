"""Rotary positions (RoFormer, Su et al. 2021, eq. 34): pairs of channels turn by an angle that grows with position.

The pairs are (i, i + D/2), as in published LLaMA-shaped checkpoints. Tables are built once per forward, outside
attention. Scaled variants (LLaMA 3, YaRN) come with the weights that need them.
"""

from __future__ import annotations

import torch
from torch import Tensor

Rotation = tuple[Tensor, Tensor]
"""cos and sin, each (T, 1, D_rotated): they broadcast over (B, T, H, D)."""


def rotation(start: int, length: int, size: int, theta: float, device: torch.device | None = None) -> Rotation:
    """The rotation of positions ``start … start + length - 1``.

    Args:
        size: channels of a head that are rotated; even.
        theta: the base of the wavelengths, 10000 in the paper.
    """
    frequency = theta ** (-torch.arange(0, size, 2, dtype=torch.float32, device=device) / size)  # (D/2,)
    position = torch.arange(start, start + length, dtype=torch.float32, device=device)  # (T,)
    angle = torch.outer(position, frequency)[:, None, :]  # (T, 1, D/2)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn the first channels of every head: x is (B, T, H, D), the rest of D passes through."""
    cos, sin = (table.to(x.dtype) for table in by)
    size = cos.shape[-1]
    head = x[..., :size]
    turned = head * cos + torch.roll(head, size // 2, -1) * sin
    return turned if size == x.shape[-1] else torch.cat([turned, x[..., size:]], -1)
