"""Biases on attention's scores that depend on how far apart two positions are: ALiBi and T5's buckets."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def alibi_slopes(heads: int) -> list[float]:
    """Return each head's penalty per position (Press et al. 2022, section 3): a geometric sequence.

    Where the number of heads is no power of two, every second value of the next longer sequence fills it up, as in the
    paper's code.
    """
    power = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8.0 * (head + 1) / power) for head in range(power)]
    more = [2 ** (-4.0 * (head + 1) / power) for head in range(0, 2 * (heads - power), 2)]
    return slopes + more


def alibi(heads: int, query: Tensor, key: Tensor) -> Tensor:
    """(H, T, S): slope · (key - query) of positions query (T,) and key (S,)."""
    slopes = torch.tensor(alibi_slopes(heads), device=query.device)
    return slopes[:, None, None] * (key[None] - query[:, None])


class RelativeBias(nn.Module):
    """A learned bias for each head and bucket of distances (T5, Raffel et al. 2020, section 2.1).

    Half of the buckets hold one distance each, the others grow logarithmically up to ``distance``.
    """

    def __init__(self, heads: int, buckets: int, distance: int, *, causal: bool) -> None:
        super().__init__()
        self.buckets, self.distance, self.causal = buckets, distance, causal
        self.table = nn.Embedding(buckets, heads)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """(H, T, S) of positions query (T,) and key (S,)."""
        biases: Tensor = self.table(self._bucket(key[None] - query[:, None]))  # (T, S, H)
        return biases.permute(2, 0, 1)

    def _bucket(self, offset: Tensor) -> Tensor:
        buckets, first = self.buckets, torch.zeros_like(offset)
        if self.causal:
            distance = (-offset).clamp(min=0)
        else:  # one half for keys before, one for keys after
            buckets //= 2
            first = (offset > 0).long() * buckets
            distance = offset.abs()
        exact = buckets // 2
        growth = (distance.float().clamp(min=1) / exact).log() / math.log(self.distance / exact) * (buckets - exact)
        far = (exact + growth.long()).clamp(max=buckets - 1)
        return first + torch.where(distance < exact, distance, far)
