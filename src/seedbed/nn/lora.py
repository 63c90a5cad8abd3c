"""Low-rank additions to linear layers (LoRA, Hu et al. 2021, section 4.1): ``W x + scale · up (down x)``, W as it was.

Linear layers are replaced by path, so models know nothing of it; after training the additions are folded into the
weights. Their published form is read and written by ``formats.peft_format``. Left out: dropout before the additions,
and training additions to embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LowRank:
    """A low-rank addition to one linear layer of n outputs and k inputs: down (rank, k), up (n, rank)."""

    down: Tensor
    up: Tensor
    scale: float


class FrozenLinear(Protocol):
    """A linear layer whose weights are not trained: ``nn.Linear``, or integers (``kernel.quantized_layers``)."""

    in_features: int
    out_features: int

    @property
    def weight(self) -> Tensor:
        """(n, k) floats."""

    def __call__(self, x: Tensor) -> Tensor:
        """(…, k) → (…, n), with the gradient of x."""


@dataclass(frozen=True)
class Adapter:
    """All that training changed."""

    additions: Mapping[str, LowRank]  # by the path of a linear layer or embedding (whose n are its rows)
    replaced: Mapping[str, Tensor]  # whole tensors by parameter name: layers that were trained in full, biases


class LowRankLinear(nn.Module):
    """A frozen linear layer of n outputs and k inputs, floats or integers, with an addition of rank r that is trained.

    ``up`` begins as zeros, so that nothing changes before the first step (section 4.1).
    """

    def __init__(self, base: FrozenLinear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base, self.scale, self.active = base, alpha / rank, True
        some = base.weight
        self.down = nn.Parameter(some.new_empty(rank, base.in_features))
        self.up = nn.Parameter(some.new_zeros(base.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """(…, k) → (…, n)."""
        # Integers round an input without a gradient, such as the first layer's: not while additions are trained.
        exact = getattr(self.base, "exact", None) if torch.is_grad_enabled() else None
        y = self.base(x) if exact is None else exact(x)
        return y + self.scale * (x @ self.down.T) @ self.up.T if self.active else y

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """The base layer with the addition in its weights; integers are rounded again."""
        change = self.scale * (self.up @ self.down)
        if not isinstance(self.base, nn.Linear):
            return cast(nn.Module, self.base.plus(change))  # type: ignore[attr-defined]
        self.base.weight += change
        return self.base


def add_low_rank(model: nn.Module, rank: int, alpha: float, seed: int) -> None:
    """Freeze a model and give every linear layer of its blocks an addition, in place. Routers of experts stay."""
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for path, layer in list(model.named_modules()):
        linear = isinstance(layer, nn.Linear) or hasattr(layer, "plus")
        if linear and ".blocks." in f".{path}" and not path.endswith("router"):
            addition = LowRankLinear(layer, rank, alpha)
            bound = 1 / math.sqrt(layer.in_features)
            drawn = torch.empty(addition.down.shape).uniform_(-bound, bound, generator=generator)
            addition.down.data.copy_(drawn)
            model.set_submodule(path, addition)


def additions(model: nn.Module) -> dict[str, LowRank]:
    """The additions by the path of their layer."""
    return {
        path: LowRank(layer.down.detach(), layer.up.detach(), layer.scale)
        for path, layer in model.named_modules()
        if isinstance(layer, LowRankLinear)
    }


@contextmanager
def switched_off(model: nn.Module) -> Iterator[None]:
    """Compute without the additions inside the block: the model it was before, bit for bit, at no cost in memory."""
    layers = [layer for layer in model.modules() if isinstance(layer, LowRankLinear)]
    before = [layer.active for layer in layers]
    for layer in layers:
        layer.active = False
    try:
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer.active = active


def fold(model: nn.Module) -> None:
    """Put all additions into the weights, in place; the model is a plain one again, and trainable."""
    for path, layer in list(model.named_modules()):
        if isinstance(layer, LowRankLinear):
            model.set_submodule(path, layer.folded())
    model.requires_grad_(True)
