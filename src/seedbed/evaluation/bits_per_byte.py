"""Bits per byte: how many bits a model needs for each byte of text it has never seen.

bits per byte = -sum over documents and tokens of log2 p(token | its document so far) / UTF-8 bytes of the documents.

Unlike a loss per token it does not depend on the tokenizer, so models with different ones, n-grams and compressors can
stand in one table. A document is read on its own from its BOS, which is given; its END is predicted and paid for,
since whoever decodes the bits must know where to stop. A document longer than the model's context is read in
overlapping windows: every token is counted once, and after the first window with at least ``context - stride``
tokens before it (Hugging Face's "perplexity of fixed-length models" with its strided window).

The error bar is over documents, the unit that was split: by the delta method for a ratio of sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seedbed.core.errors import DataError, UsageError
from seedbed.core.progress import progress
from seedbed.corpus.pack import TokenSplit
from seedbed.models.decoder import Decoder

BATCH_TOKENS = 8192
"""Positions in one forward pass. More is not faster on a CPU, and needs more memory."""
LOGITS = 2**22
"""Logits held at once: 16 MiB in float32, which stays near the cache."""


@dataclass(frozen=True)
class BitsPerByte:
    """A measurement, by document."""

    document_bits: NDArray[np.float64]
    document_bytes: NDArray[np.int64]
    tokens: int

    @property
    def bits(self) -> float:
        """Bits in all."""
        return float(self.document_bits.sum())

    @property
    def bytes(self) -> int:
        """UTF-8 bytes in all."""
        return int(self.document_bytes.sum())

    @property
    def value(self) -> float:
        """Bits per byte."""
        return self.bits / self.bytes

    @property
    def standard_error(self) -> float:
        """Of ``value``, over documents; not a number for a single document."""
        return ratio_error(self.document_bits, self.document_bytes)


def ratio_error(numbers: NDArray[np.float64], sizes: NDArray[np.int64]) -> float:
    """Return the standard error of ``sum(numbers) / sum(sizes)`` over documents (Cochran 1977, chapter 6)."""
    count = len(numbers)
    if count < 2:
        return float("nan")
    residual = numbers - numbers.sum() / sizes.sum() * sizes
    return float(np.sqrt(count / (count - 1) * np.sum(residual**2)) / sizes.sum())


@dataclass(frozen=True)
class TokenWindow:
    """A piece of one document to run through the model; predictions before ``skip`` were made in an earlier window."""

    document: int
    start: int  # index of its first input token in the split
    length: int  # input tokens
    skip: int  # leading predictions that an earlier window counted


def measure(model: Decoder, split: TokenSplit, *, context: int, stride: int | None = None) -> BitsPerByte:
    """Measure bits per byte of ``model`` on every document of ``split``.

    Args:
        model: a causal model, on any device; measured without dropout.
        context: the tokens it was trained to see at once.
        stride: how far a window moves on, in tokens; half the context unless given.

    Raises:
        DataError: the split is empty.
        UsageError: the stride is not between 1 and the context.
    """
    stride = stride or max(1, context // 2)
    if not 1 <= stride <= context:
        raise UsageError(
            f"a stride of {stride} tokens cannot be used",
            why=f"the context is {context} tokens, and every token must be in a window",
            fix=f"give a stride from 1 to {context}",
        )
    if not len(split.starts) or not split.bytes.sum():
        raise DataError("there is no text to measure", why="the split has no document", fix="build a larger corpus")
    windows = plan_windows(split.starts, len(split), context, stride)
    bits = np.zeros(len(split.starts))
    with torch.inference_mode(), ExitStack() as afterwards:
        afterwards.callback(model.train, model.training)
        model.eval()
        for documents, (hidden,), targets in predictions("bits per byte", [model], split, windows):
            np.add.at(bits, documents, _cross_entropy(model, hidden, targets) / np.log(2))
    return BitsPerByte(bits, split.bytes, len(split) - len(split.starts))


def plan_windows(starts: NDArray[np.int64], length: int, context: int, stride: int) -> list[TokenWindow]:
    """Cover every prediction of every document once.

    A document of n + 1 tokens asks for n predictions. Windows move by ``stride``; the last one is moved back to end
    with the document, so that it is full and its predictions see more.
    """
    windows = []
    for document, (start, stop) in enumerate(zip(starts, [*starts[1:], length], strict=True)):
        predictions = int(stop - start) - 1
        covered = 0
        while covered < predictions:
            end = min(covered + stride if covered else context, predictions)
            first = max(0, end - context)
            windows.append(TokenWindow(document, int(start) + first, end - first, covered - first))
            covered = end
    return windows


def batches(windows: Sequence[TokenWindow]) -> Iterator[list[TokenWindow]]:
    """Yield batches of windows of like length, the longest first, of at most ``BATCH_TOKENS`` with padding."""
    ordered = sorted(windows, key=lambda window: -window.length)
    at = 0
    while at < len(ordered):
        size = max(1, BATCH_TOKENS // ordered[at].length)
        yield ordered[at : at + size]
        at += size


def predictions(
    title: str, models: Sequence[Decoder], split: TokenSplit, windows: Sequence[TokenWindow]
) -> Iterator[tuple[NDArray[np.int64], list[Tensor], Tensor]]:
    """Yield, for the N new predictions of each batch, documents (N,), hidden (N, D) of every model, and targets (N,).

    Short windows are padded on the right, which a causal model cannot see.
    """
    device = next(models[0].parameters()).device
    with progress(title, sum(window.length for window in windows), "tokens") as bar:
        for batch in batches(windows):
            ids, chosen = _batch_tokens(split, batch, device)
            documents = np.repeat(np.array([window.document for window in batch]), chosen.sum(1).cpu().numpy())
            yield documents, [model.hidden(ids[:, :-1])[0][chosen] for model in models], ids[:, 1:][chosen]
            bar.advance(sum(window.length for window in batch))


def _batch_tokens(split: TokenSplit, batch: Sequence[TokenWindow], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the ids of a batch of windows (B, T + 1), and a mask of its new predictions (B, T)."""
    width = batch[0].length
    rows = np.zeros((len(batch), width + 1), dtype=np.int64)
    new = np.zeros((len(batch), width), dtype=bool)
    for row, window in enumerate(batch):
        rows[row, : window.length + 1] = split.read(window.start, window.start + window.length + 1)
        new[row, window.skip : window.length] = True
    return torch.from_numpy(rows).to(device), torch.from_numpy(new).to(device)


def _cross_entropy(model: Decoder, hidden: Tensor, targets: Tensor) -> NDArray[np.float64]:
    """Return -ln p of each target (N,), with a bounded number of logits at once."""
    rows = max(1, LOGITS // model.config.vocab_size)
    costs = [
        torch.nn.functional.cross_entropy(model.head(part).float(), wanted, reduction="none").double()
        for part, wanted in zip(torch.split(hidden, rows), torch.split(targets, rows), strict=True)
    ]
    return np.asarray(torch.cat(costs).cpu().numpy(), dtype=np.float64)
