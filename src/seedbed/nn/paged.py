"""Keys and values of many sequences in shared pages (Kwon et al. 2023, PagedAttention), read by ragged attention.

A batch holds rows of sequences of any lengths. New keys and values are scattered to their places in the pages; then
groups of rows attend, each to the positions that its sequences have filled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seedbed.nn.cache import KVCache

Mix = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool], Tensor]
"""Attention itself: queries (B, H, T, D), keys and values (B, H_kv, S, D), mask, causal → (B, H, T, D)."""


@dataclass(frozen=True)
class AttentionGroup:
    """Rows of a batch that attend in one operation."""

    rows: slice  # which of the batch
    places: Tensor | slice  # of the S positions they see in the pages: (rows, S), or a slice for one row
    mask: Tensor | None  # this and the next as in :class:`seedbed.nn.mixer.Context`
    causal: bool


class PagedCache(KVCache):
    """One layer's keys and values of a batch of sequences.

    Args:
        pages: those of all blocks, (2, H_kv, places, D).
        fresh: (N,) places of the first N of the batch's B * T new positions; what comes after them is padding.
        used: (B, 1) positions before the new ones.
        groups: cover all rows that are not padding.
        long: the sequences are longer than LongRoPE's short factors are for.
    """

    def __init__(
        self, pages: Tensor, fresh: Tensor, used: Tensor, groups: Sequence[AttentionGroup], long: bool = False
    ) -> None:
        self.pages, self.fresh, self.groups, self.long = pages, fresh, groups, long
        self.used = used  # type: ignore[assignment]  # a number of its own for every row

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mix: Mix) -> Tensor:
        """Store k and v (B, H_kv, T, D), and let q (B, H, T, D) attend: (B, H, T, D), zeros where rows are padding."""
        for stored, new in zip(self.pages, (k, v), strict=True):
            stored.index_copy_(1, self.fresh, new.transpose(0, 1).flatten(1, 2)[:, : self.fresh.numel()])
        y = torch.zeros_like(q)
        for group in self.groups:
            seen = self.pages[:, :, group.places]  # (2, H_kv, [rows,] S, D)
            keys, values = (seen if seen.ndim == 5 else seen.unsqueeze(2)).transpose(1, 2)
            y[group.rows] = mix(q[group.rows], keys, values, group.mask, group.causal)
        return y
