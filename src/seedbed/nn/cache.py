"""The static key/value cache of one attention layer: slabs of fixed length, filled from the left."""

from __future__ import annotations

import torch
from torch import Tensor

from seedbed.core.errors import CapacityError


class KVCache:
    """Keys and values of the positions seen so far.

    ``k`` and ``v`` are (B, H_kv, L, D) and allocated once; ``used`` positions of L are filled. The same number is
    filled for every sequence of the batch.
    """

    def __init__(
        self,
        batch: int,
        heads: int,
        length: int,
        head_dim: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.k = torch.zeros(batch, heads, length, head_dim, device=device, dtype=dtype)
        self.v = torch.zeros_like(self.k)
        self.used = 0

    @property
    def length(self) -> int:
        """Positions there is room for."""
        return self.k.shape[2]

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Store keys and values (B, H_kv, T, D) of the next T positions; returns views of all that is filled.

        Raises CapacityError where there is no room for T more.
        """
        end = self.used + k.shape[2]
        if end > self.length:
            raise CapacityError(
                "the context window is full",
                why=f"{end} positions do not fit in a cache of {self.length}",
                fix="shorten the prompt or ask for fewer tokens",
            )
        self.k[:, :, self.used : end] = k
        self.v[:, :, self.used : end] = v
        self.used = end
        return self.k[:, :, :end], self.v[:, :, :end]

    def reorder(self, index: Tensor) -> None:
        """Let sequence i continue from sequence ``index[i]``: (B,) whole numbers. For beam search."""
        self.k[:, :, : self.used] = self.k[index, :, : self.used]
        self.v[:, :, : self.used] = self.v[index, :, : self.used]
