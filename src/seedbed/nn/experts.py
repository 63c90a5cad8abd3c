"""Mixture of experts (Shazeer et al. 2017): each position goes through a few of many feed-forward layers.

Left out: capacity limits and the auxiliary loss that balances experts in pretraining.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seedbed.core.config import setting
from seedbed.nn.feedforward import Activation, FeedForward


@dataclass(frozen=True)
class ExpertsConfig:
    """Number and weighting of the experts of a layer."""

    count: int = setting(8, "experts in a layer", at_least=1)
    active: int = setting(2, "experts a position goes through", at_least=1)
    hidden: int | None = setting(None, "hidden width of one expert; default d_ff", at_least=1)
    renormalize: bool = setting(True, "the weights of the chosen experts sum to 1 (Mixtral)")

    def __post_init__(self) -> None:
        if self.active > self.count:
            raise ValueError(f"{self.active} experts cannot be active of {self.count}")


class Experts(nn.Module):
    """(B, T, D) → (B, T, D): the sum of the chosen experts' outputs, weighed by the router's softmax."""

    def __init__(self, size: int, hidden: int, config: ExpertsConfig, activation: Activation, *, gated: bool) -> None:
        super().__init__()
        self.config = config
        self.router = nn.Linear(size, config.count, bias=False)
        self.experts = nn.ModuleList(FeedForward(size, hidden, activation, gated=gated) for _ in range(config.count))

    def forward(self, x: Tensor) -> Tensor:
        """Compute each position on its own; experts are visited in order, so that sums come out the same every time."""
        flat = x.flatten(0, -2)  # (N, D)
        weights = self.router(flat).softmax(-1, dtype=torch.float32)  # (N, E)
        weights, chosen = weights.topk(self.config.active, -1)  # (N, A)
        if self.config.renormalize:
            weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(flat)
        for number, expert in enumerate(self.experts):
            row, place = (chosen == number).nonzero(as_tuple=True)
            if row.numel():
                out = out.index_add(0, row, expert(flat[row]) * weights[row, place, None].to(x.dtype))
        return out.view_as(x)
