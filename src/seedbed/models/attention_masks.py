"""Attention masks: causal, sliding, padded, biased by distance. Built once per forward and kind of layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seedbed.models.config import MixerKind, ModelConfig
from seedbed.nn.bias import alibi


def attention_mask(
    config: ModelConfig,
    kind: MixerKind,
    start: int,
    length: int,
    device: torch.device,
    real: Tensor | None = None,  # (B, S) which positions are text and not padding
    relative: nn.Module | None = None,  # T5's learned bias
) -> tuple[Tensor | None, bool]:
    """Return the mask of positions ``start … start + length - 1`` over all so far, and whether it is plainly causal.

    A mask is bool (True: seen) or float (added to scores), broadcast to (B, H, T, S); None where none is needed: then
    the kernel that knows causal attention is fastest.
    """
    window = config.window if kind == "sliding" else None
    unlimited = window is None or window >= start + length
    biased = config.position in ("alibi", "relative")
    if unlimited and not biased and real is None and (start == 0 or length == 1 or not config.causal):
        return None, config.causal and length > 1
    query = torch.arange(start, start + length, device=device)
    key = torch.arange(start + length, device=device)
    back = query[:, None] - key[None]  # (T, S)
    seen = back >= 0 if config.causal else torch.ones_like(back, dtype=torch.bool)
    if window is not None:
        seen = seen & (back < window)
    if real is not None:
        seen = seen & padding_mask(real)
    if not biased:
        return seen, False
    bias = alibi(config.n_heads, query, key) if relative is None else relative(query, key)  # (H, T, S)
    return bias.masked_fill(~seen, -torch.inf), False


def padding_mask(real: Tensor) -> Tensor:
    """Return the mask of text (B, S) as (B, 1, 1, S)."""
    return real.bool()[:, None, None, :]
