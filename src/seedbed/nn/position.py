"""Positions: rotary (RoFormer, Su et al. 2021, eq. 34), its scalings for long contexts, and sinusoids.

Rotary pairs are the channels (i, i + D/2), as in published LLaMA-shaped checkpoints. Tables are built once per forward,
outside attention.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from seedbed.core.config import setting

Rotation = tuple[Tensor, Tensor]
"""cos and sin, each (T, 1, D_rotated) or (B, T, 1, D_rotated): they broadcast over (B, T, H, D)."""

ScalingKind = Literal["linear", "llama3", "yarn", "longrope"]


@dataclass(frozen=True)
class RopeScaling:
    """Scaling of rotary wavelengths for contexts longer than a model was first trained on."""

    kind: ScalingKind = setting("linear", "which rule")
    factor: float = setting(1.0, "how much longer contexts become", at_least=1)
    original_length: int = setting(8192, "context of the first training", unit="tokens", at_least=1)
    low_frequency: float = setting(1.0, "llama3: wavelengths longer than original_length / this are stretched whole")
    high_frequency: float = setting(4.0, "llama3: wavelengths shorter than original_length / this are left alone")
    fast: float = setting(32.0, "yarn: turns within original_length above which nothing is stretched")
    slow: float = setting(1.0, "yarn: turns within original_length below which all is stretched")
    rounded: bool = setting(True, "yarn: the ends of the ramp are whole channels")
    gain: float | None = setting(None, "yarn, longrope: what cos and sin are multiplied with; default by the factor")
    factors: tuple[float, ...] = setting((), "longrope: a stretch for every pair of channels in longer texts")
    short_factors: tuple[float, ...] = setting((), "longrope: those for texts up to original_length")

    @property
    def switch_length(self) -> int | None:
        """Positions beyond which all of a text is rotated with other factors; None where nothing changes."""
        return self.original_length if self.factors != self.short_factors else None


def rotation(
    start: int | Tensor,  # the same for all sequences, or (B, 1) one for each
    length: int,
    size: int,  # channels of a head that are rotated; even
    theta: float,  # the base of the wavelengths, 10000 in the paper
    device: torch.device | None = None,
    scaling: RopeScaling | None = None,
    context: int = 0,  # the model's longest context, by which longrope chooses its gain
    long: bool = False,  # the sequence is longer than longrope's short factors are for
) -> Rotation:
    """Return the rotation of positions ``start … start + length - 1``."""
    frequency = theta ** (-torch.arange(0, size, 2, dtype=torch.float32, device=device) / size)  # (D/2,)
    gain = 1.0
    if scaling is not None:
        stretched = replace(scaling, short_factors=scaling.factors) if long else scaling
        frequency, gain = _SCALINGS[scaling.kind](frequency, theta, stretched, context)
    position = start + torch.arange(length, dtype=torch.float32, device=device)  # ([B,] T)
    angle = position[..., None, None] * frequency  # ([B,] T, 1, D/2)
    cos, sin = angle.cos() * gain, angle.sin() * gain
    return torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn the first channels of every head: x is (B, T, H, D), the rest of D passes through."""
    cos, sin = (table.to(x.dtype) for table in by)
    size = cos.shape[-1]
    head = x[..., :size]
    turned = head * cos + torch.roll(head, size // 2, -1) * sin
    return turned if size == x.shape[-1] else torch.cat([turned, x[..., size:]], -1)


def sinusoids(start: int | Tensor, length: int, size: int, device: torch.device | None = None) -> Tensor:
    """([B,] T, size): sines, then cosines (Vaswani et al. 2017, section 3.5), half of the channels each."""
    exponent = 2 * torch.arange(-(-size // 2), dtype=torch.float64, device=device) / size
    position = start + torch.arange(length, dtype=torch.float64, device=device)
    angle = position[..., None] * 10000.0**-exponent
    return torch.cat([angle.sin(), angle.cos()[..., : size // 2]], -1).float()


Scaled = tuple[Tensor, float]


def _linear(frequency: Tensor, theta: float, how: RopeScaling, context: int) -> Scaled:
    """Position interpolation (Chen et al. 2023)."""
    return frequency / how.factor, 1.0


def llama3(frequency: Tensor, theta: float, how: RopeScaling, context: int) -> Scaled:
    """Long wavelengths are stretched, short ones left alone, those between mixed (Llama 3.1's code)."""
    turns = how.original_length * frequency / (2 * math.pi)  # within the original context
    mix = ((turns - how.low_frequency) / (how.high_frequency - how.low_frequency)).clamp(0, 1)
    return (1 - mix) * frequency / how.factor + mix * frequency, 1.0


def _yarn(frequency: Tensor, theta: float, how: RopeScaling, context: int) -> Scaled:
    """NTK by parts with a temperature (YaRN, Peng et al. 2023, sections 3.2 to 3.4)."""
    size = 2 * frequency.numel()

    def channel(turns: float) -> float:
        return size * math.log(how.original_length / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = channel(how.fast), channel(how.slow)
    if how.rounded:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, size - 1)
    ramp = (torch.arange(size // 2, dtype=torch.float32, device=frequency.device) - low) / max(high - low, 0.001)
    stretched = ramp.clamp(0, 1)
    gain = how.gain if how.gain is not None else 0.1 * math.log(how.factor) + 1.0
    return frequency / how.factor * stretched + frequency * (1 - stretched), gain


def _longrope(frequency: Tensor, theta: float, how: RopeScaling, context: int) -> Scaled:
    """Return a searched stretch for every wavelength (LongRoPE, Ding et al. 2024): the short factors."""
    gain = how.gain if how.gain is not None else longrope_gain(context, how.original_length)
    return frequency / frequency.new_tensor(how.short_factors), gain


def longrope_gain(context: int, original: int) -> float:
    """Return LongRoPE's default factor of cos and sin."""
    ratio = context / original
    return math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0


_SCALINGS = {"linear": _linear, "llama3": llama3, "yarn": _yarn, "longrope": _longrope}
