"""The quality that quantization costs: the same held-out text through the float model and the quantized one.

Three figures, because one hides things: bits per byte (the average cost), top-1 agreement (the share of greedy
tokens that stay), and the mean Kullback-Leibler divergence KL(float || quantized) in nats a token (the change of the
whole distribution; the figure llama.cpp's ``--kl-divergence`` prints).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from seedbed.core.errors import DataError
from seedbed.corpus.pack import TokenSplit
from seedbed.evaluation.bits_per_byte import LOGITS, TokenWindow, plan_windows, predictions
from seedbed.models.decoder import Decoder


@dataclass(frozen=True)
class Quality:
    """A quantized model beside the float one, over ``tokens`` predictions."""

    bits_per_byte: float
    float_bits_per_byte: float
    agreement: float
    divergence: float
    tokens: int


def compare(base: Decoder, other: Decoder, split: TokenSplit, tokens: int = 50_000) -> Quality:
    """Measure ``other`` against ``base`` on the first documents of a split, up to about ``tokens`` predictions.

    Raises DataError where the split is empty.
    """
    context = base.config.max_length
    windows = _first(plan_windows(split.starts, len(split), context, max(1, context // 2)), tokens)
    if not windows:
        raise DataError("there is no text to measure", why="the split has no document", fix="build a larger corpus")
    size = int(split.bytes[: windows[-1].document + 1].sum())
    sums = np.zeros(5)
    with torch.inference_mode():
        for _, hidden, targets in predictions("quality", (base, other), split, windows):
            sums += _sums((base, other), hidden, targets)
    count, cost, other_cost, same, divergence = sums
    bits = size * math.log(2)
    return Quality(other_cost / bits, cost / bits, same / count, divergence / count, int(count))


def _first(windows: list[TokenWindow], tokens: int) -> list[TokenWindow]:
    """Return windows of the first whole documents that hold about so many new predictions; at least one document."""
    total, last = 0, 0
    for window in windows:
        if total >= tokens and window.document != last:
            break
        total, last = total + window.length - window.skip, window.document
    return [window for window in windows if window.document <= last]


def _sums(
    models: tuple[Decoder, Decoder], hidden: list[Tensor], targets: Tensor
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Sum predictions, cost in nats of both models, equal best tokens, and divergence, with few logits at once."""
    rows = max(1, LOGITS // models[0].config.vocab_size)
    sums = np.zeros(5)
    for one, two, wanted in zip(*(torch.split(part, rows) for part in (*hidden, targets)), strict=True):
        p, q = (model.head(part).double().log_softmax(-1) for model, part in zip(models, (one, two), strict=True))
        costs = [-part.gather(1, wanted[:, None]).sum().item() for part in (p, q)]
        same = (p.argmax(-1) == q.argmax(-1)).sum().item()
        sums += [len(wanted), *costs, same, (p.exp() * (p - q)).sum().item()]
    return sums
