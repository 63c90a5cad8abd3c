"""Pruning single weights: the least important ones become zero, the shape stays.

By magnitude (Han et al. 2015), in each layer or over all; by Wanda (Sun et al. 2023, section 3): magnitude times the
norm of the input that meets the weight, compared within each output. As a share of all, or n of m neighbours (2:4,
Mishra et al. 2021). Pruned are the linear layers of all blocks. The embedding, the output layer and routers of experts
decide much and hold little, and stay; so do norms, biases and recurrent cells.

A dense kernel multiplies zeros as quickly as other numbers: this saves neither memory nor time (docs/shrinking.md).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from seedbed.core.errors import UsageError
from seedbed.core.progress import progress
from seedbed.models.stack import Stack
from seedbed.transform.calibration import watching

Drop = Callable[[Tensor], Tensor]
"""Scores (n, k) → True where a weight goes."""


@dataclass(frozen=True)
class Pattern:
    """``keep`` weights of every ``of`` neighbours in a row stay: "2:4" keeps two of four."""

    keep: int
    of: int

    def __str__(self) -> str:
        return f"{self.keep}:{self.of}"


def prunable(model: nn.Module) -> dict[str, nn.Linear]:
    """Return the linear layers of all blocks by their paths, without routers."""
    return {
        path: layer
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Linear) and ".blocks." in f".{path}" and not path.endswith("router")
    }


@torch.no_grad()
def prune_magnitude(model: nn.Module, amount: float | Pattern) -> None:
    """Set the smallest weights of every layer to zero: a share of them, or all but n of m.

    Raises UsageError for a share outside 0 to 1, or rows that do not divide into the pattern's groups.
    """
    drop = dropper(amount)
    for path, layer in _checked(model, amount).items():
        _clear(layer, _chosen(path, drop, layer.weight.abs()))


@torch.no_grad()
def prune_globally(model: nn.Module, share: float) -> None:
    """Set the smallest weights of all layers together to zero, so that layers lose different shares.

    The limit is found by bisection over magnitudes, with no copy of the weights. Raises UsageError for a share outside
    0 to 1.
    """
    _check_share(share)
    layers = list(prunable(model).values())
    weights: list[Tensor] = [layer.weight for layer in layers]
    count = round(share * sum(weight.numel() for weight in weights))
    if not count:
        return
    limit = _kth_magnitude(weights, count)
    spare = count - sum(int((_bits(weight) < limit).sum()) for weight in weights)  # of those equal to the limit
    for layer in layers:
        bits = _bits(layer.weight)
        equal = (bits == limit).flatten()
        chosen = equal & (equal.cumsum(0) <= spare)
        spare -= int(chosen.sum())
        _clear(layer, (bits < limit) | chosen.view_as(bits))


@torch.no_grad()
def prune_wanda(model: Stack, amount: float | Pattern, ids: Tensor) -> None:
    """Prune block by block, each by its inputs from the pruned blocks before it; raises as :func:`prune_magnitude`.

    The text ``ids`` (B, T) is run as one batch: its activations must fit in memory.
    """
    drop, every = dropper(amount, by_row=True), _checked(model, amount)

    def first(place: int, block: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        """Before a block runs: run it once to see its layers' inputs, then prune them."""
        layers = {path: layer for path, layer in every.items() if path.startswith(f"blocks.{place}.")}
        squares: dict[str, Tensor] = {}
        with watching(layers, lambda layer, x: x.square().sum(0), squares):
            block.forward(*arguments)
        for path, layer in layers.items():
            scores = layer.weight.abs().float()
            if path in squares:  # an expert that no token reached is pruned by magnitude
                scores = scores * squares[path].sqrt()
            _clear(layer, _chosen(path, drop, scores))
        bar.advance()

    with progress("pruning", len(model.blocks), "blocks") as bar, ExitStack() as hooks:
        for place, block in enumerate(model.blocks):
            hooks.callback(block.register_forward_pre_hook(partial(first, place)).remove)
        model.hidden(ids.to(next(model.parameters()).device))


def dropper(amount: float | Pattern, *, by_row: bool = False) -> Drop:
    """Return the function that chooses the weights to drop, the lowest scores first; a share of all or ``by_row``."""
    if isinstance(amount, Pattern):
        return lambda scores: _lowest(scores.view(-1, amount.of), amount.of - amount.keep).view_as(scores)
    if by_row:
        return lambda scores: _lowest(scores, round(amount * scores.shape[1]))
    return lambda scores: _lowest(scores.reshape(1, -1), round(amount * scores.numel())).view_as(scores)


def zeros(model: nn.Module) -> int:
    """Count the parameters that are zero; a tied one counts once."""
    return sum(int((parameter == 0).sum()) for parameter in model.parameters())


def _clear(layer: nn.Linear, gone: Tensor) -> None:
    """Set weights to zero in a new tensor, for the old one may be a page of a file."""
    layer.weight.data = layer.weight.masked_fill(gone, 0)


def _lowest(scores: Tensor, count: int) -> Tensor:
    """Return True at the ``count`` lowest of each row (R, k)."""
    places = torch.topk(scores, count, dim=1, largest=False).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, places, True)


def _chosen(path: str, drop: Drop, scores: Tensor) -> Tensor:
    if not scores.isfinite().all():
        raise UsageError(
            "a model with numbers that overflow cannot be pruned",
            why=f"{path} has weights or inputs that are not finite",
            fix="load the model it was made from, or export it in float32",
        )
    return drop(scores)


def _checked(model: nn.Module, amount: float | Pattern) -> dict[str, nn.Linear]:
    """Return the layers after checking that all can be pruned so."""
    layers = prunable(model)
    if not isinstance(amount, Pattern):
        _check_share(amount)
        return layers
    for path, layer in layers.items():
        if layer.in_features % amount.of:
            raise UsageError(
                f"the pattern {amount} does not fit this model",
                why=f"{path} has {layer.in_features} inputs, which do not divide by {amount.of}",
                fix="prune a share of the weights instead (--method magnitude or wanda)",
            )
    return layers


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise UsageError(f"a share of {share} cannot be pruned", why="it leaves nothing or all", fix="give 0.1 to 0.9")


def _kth_magnitude(weights: list[Tensor], count: int) -> int:
    """Return the bits of the ``count``-th smallest magnitude: positive floats are in the order of their bits."""
    low, high = 0, 2**31 - 1
    while low < high:
        middle = (low + high) // 2
        if sum(int((_bits(weight) <= middle).sum()) for weight in weights) >= count:
            high = middle
        else:
            low = middle + 1
    return low


def _bits(weight: Tensor) -> Tensor:
    return weight.abs().float().view(torch.int32)
