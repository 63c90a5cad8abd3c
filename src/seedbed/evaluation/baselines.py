"""Baselines for a model's bits per byte: uniform, unigrams, a Kneser-Ney 5-gram, ``gzip -9`` and ``xz -9``.

Everything that learns, learns from the training split alone. Every row pays for the end of a document as the model
does: unigrams and the 5-gram predict it, compressors store it. Compressors run document by document, since a model
too sees one document at a time, and once over the whole split, where each document profits from those before it.
"""

from __future__ import annotations

import gzip
import lzma
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.core.progress import progress, track
from seedbed.corpus.pack import Tokens, TokenSplit
from seedbed.evaluation.kneser_ney import train_kneser_ney
from seedbed.evaluation.table import Floats, ResultRow

ORDER = 5
NGRAM_TOKENS = 10_000_000
"""Training tokens the n-gram model counts at most (1.3 GB of memory, measured); beyond, evenly spread documents."""
_READ = 2**22  # tokens read at once where only counts are kept


def token_rows(train: TokenSplit, test: TokenSplit, vocab_size: int) -> list[ResultRow]:
    """Return the rows of uniform, unigram and Kneser-Ney models over tokens."""
    tokens = test.read(0, len(test))
    uniform = np.full(len(tokens), np.log2(vocab_size))
    uniform[test.starts] = 0.0
    unigram = _unigram_costs(train, tokens, test, vocab_size)
    return [
        _token_row("uniform over tokens", uniform, test, f"log2 of {vocab_size:,} for every token"),
        _token_row("unigram over tokens", unigram, test, "add-one, training split"),
        _kneser_ney_row(train, tokens, test, vocab_size),
    ]


def _token_row(name: str, costs: Floats, test: TokenSplit, note: str) -> ResultRow:
    return _row(name, np.add.reduceat(costs, test.starts), test.bytes, note)


def _row(name: str, bits: Floats, sizes: NDArray[Any], note: str) -> ResultRow:
    return ResultRow(name, float(bits.sum() / sizes.sum()), note, bits)


def _unigram_costs(train: TokenSplit, tokens: Tokens, test: TokenSplit, vocab_size: int) -> Floats:
    """Return the bits of every token by its count in the training split plus one; the BOS of a document is given."""
    counts = np.ones(vocab_size)
    for start in range(0, len(train), _READ):
        counts += np.bincount(train.read(start, min(start + _READ, len(train))), minlength=vocab_size)
    if len(train):
        counts[train.read(0, 1)[0]] -= len(train.starts)  # BOS is never predicted
    costs: Floats = -np.log2(counts / counts.sum())[tokens]
    costs[test.starts] = 0.0
    return costs


def _kneser_ney_row(train: TokenSplit, tokens: Tokens, test: TokenSplit, vocab_size: int) -> ResultRow:
    read, starts = _sample(train, NGRAM_TOKENS)
    with progress(f"Kneser-Ney {ORDER}-gram", len(read) + len(tokens), "tokens") as bar:
        model = train_kneser_ney(read, starts, vocab_size=vocab_size, order=ORDER)
        bar.advance(len(read))
        costs = -model.log2_probabilities(tokens, test.starts)
        bar.advance(len(tokens))
    share = "the training split" if len(read) == len(train) else f"{len(read) / len(train):.0%} of the training split"
    note = f"interpolated, modified discounts, over the model's tokens, {share}"
    return _token_row(f"Kneser-Ney {ORDER}-gram", costs, test, note)


def _sample(split: TokenSplit, limit: int) -> tuple[Tokens, NDArray[np.int64]]:
    """Return all tokens and the starts of documents; beyond ``limit`` tokens, those of documents spread evenly."""
    if len(split) <= limit:
        return split.read(0, len(split)), split.starts
    stops = np.append(split.starts[1:], len(split))
    step = -(-len(split) // limit)
    chosen = range(0, len(stops), step)
    parts = [split.read(int(split.starts[i]), int(stops[i])) for i in chosen]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return np.concatenate(parts), starts


def text_rows(train: Iterable[str], test: Iterable[str]) -> list[ResultRow]:
    """Return the rows of uniform and unigram models over bytes, ``gzip -9`` and ``xz -9``."""
    byte_costs = _byte_costs(train)
    gzip_whole, xz_whole = zlib.compressobj(9, wbits=31), lzma.LZMACompressor(preset=9)
    whole = {"gzip -9, whole split": 0, "xz -9, whole split": 0}
    costs: list[tuple[int, float, int, int]] = []
    for text in track(test, "compressing", unit="documents"):
        raw = text.encode()
        unigram = np.bincount(np.frombuffer(raw, np.uint8), minlength=256) @ byte_costs[:256] + byte_costs[256]
        costs.append((len(raw), float(unigram), 8 * len(gzip.compress(raw, 9)), 8 * xz_size(raw)))
        whole["gzip -9, whole split"] += len(gzip_whole.compress(raw))
        whole["xz -9, whole split"] += len(xz_whole.compress(raw))
    whole["gzip -9, whole split"] += len(gzip_whole.flush())
    whole["xz -9, whole split"] += len(xz_whole.flush())
    sizes, unigrams, gzips, xzs = np.array(costs).T
    return [
        _row("uniform over bytes", 8.0 * sizes, sizes, "8 bits for every byte"),
        _row("unigram over bytes", unigrams, sizes, "add-one, training split, with an end mark"),
        _row("gzip -9", gzips, sizes, "each document on its own"),
        _row("xz -9", xzs, sizes, "each document on its own"),
        *(ResultRow(name, 8 * size / sizes.sum(), "all documents as one file") for name, size in whole.items()),
    ]


def _byte_costs(train: Iterable[str]) -> Floats:
    """Return the bits of each byte and of a document's end (257,), by its count in the training split plus one."""
    counts = np.ones(257)
    for text in track(train, "counting bytes", unit="documents"):
        counts[:256] += np.bincount(np.frombuffer(text.encode(), np.uint8), minlength=256)
        counts[256] += 1
    costs: Floats = -np.log2(counts / counts.sum())
    return costs


def xz_size(raw: bytes) -> int:
    """Return the size of ``raw`` compressed by ``xz -9``.

    The preset's dictionary of 64 MiB is allocated and cleared for every call. One as large as the text finds the same
    matches ten times as fast.
    """
    dictionary = min(2**26, max(2**12, len(raw)))
    return len(lzma.compress(raw, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "dict_size": dictionary}]))
