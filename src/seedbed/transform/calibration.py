"""Calibration for pruning: statistics of the inputs of a model's layers on text, gathered with hooks.

Left out: gradients (as in Taylor scores), which need as much memory as training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from seedbed.core.errors import DataError
from seedbed.core.progress import progress
from seedbed.models.stack import Stack

TOKENS = 16_384
"""Tokens that are enough: SparseGPT and Wanda take 128 windows, and their figures hardly change from 16 on."""
WINDOW = 512
"""Tokens of one window, or the model's context where that is shorter."""
_BATCH = 4096

Measure = Callable[[nn.Linear, Tensor], Tensor]
"""A layer and its inputs (N, k) → sums over the N, of any shape."""


def windows(ids: Sequence[int], context: int, tokens: int = TOKENS) -> Tensor:
    """Return token ids (B, T) of consecutive windows, about ``tokens`` in all; DataError for fewer than two tokens."""
    length = min(context, WINDOW, len(ids))
    if length < 2:
        raise DataError("the text is too short", why=f"it has {len(ids)} tokens", fix="give a longer text")
    count = max(1, min(tokens // length, len(ids) // length))
    return torch.tensor(ids[: count * length]).view(count, length)


@torch.no_grad()
def input_sums(model: Stack, layers: Mapping[str, nn.Linear], ids: Tensor, measure: Measure) -> dict[str, Tensor]:
    """Sum ``measure`` over all inputs of each layer; a layer without inputs (an expert) is missing."""
    sums: dict[str, Tensor] = {}
    with watching(layers, measure, sums):
        run(model, ids)
    return sums


def watching(
    layers: Mapping[str, nn.Linear], measure: Measure, sums: dict[str, Tensor]
) -> AbstractContextManager[None]:
    """Add ``measure`` of these layers' inputs to ``sums`` while the block runs."""

    def watch(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Linear)
        found = measure(layer, inputs[0].flatten(0, -2).float())
        sums[name] = sums[name] + found if name in sums else found

    return _hooks(layers, watch)


@torch.no_grad()
def block_influence(model: Stack, ids: Tensor) -> Tensor:
    """Return (layers,): 1 - mean cosine between a block's input and output (ShortGPT, Men et al. 2024, eq. 1).

    Near 0: the block hardly turns the residual stream.
    """
    cosines = torch.zeros(len(model.blocks), dtype=torch.float64)

    def watch(layer: int, block: nn.Module, inputs: tuple[Any, ...], output: tuple[Tensor, Any]) -> None:
        cosines[layer] += torch.cosine_similarity(inputs[0].double(), output[0].double(), dim=-1).sum().cpu()

    with _hooks(dict(enumerate(model.blocks)), watch):
        run(model, ids)
    return (1 - cosines / ids.numel()).clamp(min=0)


@contextmanager
def _hooks(modules: Mapping[Any, nn.Module], watch: Callable[..., None]) -> Iterator[None]:
    """Call ``watch`` with a module's key, the module, its inputs and its output after each of its forward passes."""
    with ExitStack() as stack:
        for key, module in modules.items():
            stack.callback(module.register_forward_hook(partial(watch, key)).remove)
        yield


def run(model: Stack, ids: Tensor) -> None:
    """Run all windows (B, T) through the model, a few at a time."""
    device = next(model.parameters()).device
    with progress("calibrating", ids.numel(), "tokens") as bar:
        for batch in torch.split(ids, max(1, _BATCH // ids.shape[1])):
            model.hidden(batch.to(device))
            bar.advance(batch.numel())
