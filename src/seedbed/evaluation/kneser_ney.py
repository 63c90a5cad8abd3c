"""Interpolated Kneser-Ney with modified discounts, counted by sorting: the n-gram baseline a model must beat.

Modified Kneser-Ney of Chen & Goodman 1999, after Kneser & Ney 1995. For a context h and a token w::

    p(w | h) = (a(hw) - D(a(hw))) / A(h) + back(h) p(w | h without its first token)
    back(h)  = sum over w of D(a(hw)) / A(h),    A(h) = sum over w of a(hw)

``a`` is the count of an n-gram at the highest order, and below it the number of distinct tokens seen before the
n-gram; an n-gram that opens a document has nothing before it and keeps its count (Heafield et al. 2013).
Below the unigrams stands the uniform distribution, so every token has a probability and every context sums to one.

The model counts *tokens*, those of the language model it is compared with: at the same order it looks further back
than one over bytes. n-grams never cross documents; a document's first token, its BOS, is given, not predicted.

Left out: pruning, quantized storage, counting on disk. A table row for a corpus of millions of tokens needs none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus.pack import Tokens

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_FALLBACK = np.array([0.0, 0.5, 1.0, 1.5])
"""Discounts where too few n-grams are rare to estimate them (those of KenLM's ``--discount_fallback``)."""


def modified_discounts(counts: Ints) -> Floats:
    """Return the amounts taken off counts of 0, 1, 2, and 3 or more (4,), as Chen & Goodman 1999 estimate them."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == value)) for value in (1, 2, 3, 4))
    if not (n1 and n2 and n3):
        return _FALLBACK
    y = n1 / (n1 + 2 * n2)
    found = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    return found if np.all(found[1:] > 0) else _FALLBACK


@dataclass(frozen=True)
class _Level:
    """The n-grams of one order. A context is known by its index among the n-grams one order below."""

    keys: Ints  # (n,) sorted: context * vocab_size + token
    shares: Floats  # (n,) the discounted relative frequency
    back: Floats  # (contexts,) what is left for the order below; 1 for a context that nothing followed


class KneserNey:
    """A trained model; make one with :func:`train_kneser_ney`."""

    def __init__(self, levels: list[_Level], vocab_size: int) -> None:
        self._levels = levels
        self._vocab_size = vocab_size

    def log2_probabilities(self, tokens: Tokens, starts: Ints) -> Floats:
        """Return the log2 probability of every token given its document so far (N,); 0 for the first of each document.

        Args:
            tokens: documents one after another (N,), each number below the vocabulary's size.
            starts: where each document begins (documents,), the first at 0.
        """
        depth = _depths(len(tokens), starts)
        probability = np.full(len(tokens), 1 / self._vocab_size)
        context = np.zeros(len(tokens), dtype=np.int64)
        for order, level in enumerate(self._levels, 1):
            at = np.flatnonzero((depth >= order - 1) & (context >= 0))
            key = context[at] * self._vocab_size + tokens[at]
            slot = np.minimum(np.searchsorted(level.keys, key), len(level.keys) - 1)
            seen = level.keys[slot] == key
            probability[at] = np.where(seen, level.shares[slot], 0.0) + level.back[context[at]] * probability[at]
            found = np.full(len(tokens), -1, dtype=np.int64)
            found[at[seen]] = slot[seen]
            context = np.concatenate([[-1], found[:-1]])  # the n-gram that ends at the position before
        logs: Floats = np.log2(probability)
        logs[starts] = 0.0
        return logs


def train_kneser_ney(
    tokens: Tokens,
    starts: Ints,
    *,
    vocab_size: int,
    order: int = 5,
    discounts: Callable[[Ints], Floats] = modified_discounts,
) -> KneserNey:
    """Count n-grams of up to ``order`` tokens.

    Args:
        tokens, starts: as :meth:`KneserNey.log2_probabilities`.
        discounts: from the adjusted counts of one order, what is taken off counts of 0, 1, 2, and 3 or more.
    """
    depth = _depths(len(tokens), starts)
    ids = np.zeros(len(tokens), dtype=np.int64)  # the n-gram of the order below that ends at each position
    keys, counts = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
    levels: list[_Level] = []
    contexts = 1
    for length in range(1, order + 1):
        at = np.flatnonzero(depth >= length - 1)
        if not len(at):  # no document is this long
            break
        before = ids[at - 1] if length > 1 else ids[at]
        new_keys, number, new_counts = np.unique(
            before * vocab_size + tokens[at], return_inverse=True, return_counts=True
        )
        if length == 1:
            new_counts[number[starts]] = 0  # a document's first token is given, never predicted
        else:
            left = _left_neighbours(ids[at], number, len(new_keys), len(keys))
            levels.append(_level(keys, np.where(left > 0, left, counts), contexts, vocab_size, discounts))
            contexts = len(keys)
        keys, counts = new_keys, new_counts
        ids[at] = number
    levels.append(_level(keys, counts, contexts, vocab_size, discounts))
    return KneserNey(levels, vocab_size)


def _level(keys: Ints, counts: Ints, contexts: int, vocab_size: int, discounts: Callable[[Ints], Floats]) -> _Level:
    context = keys // vocab_size
    discount = discounts(counts)[np.minimum(counts, 3)]
    total = np.bincount(context, weights=counts, minlength=contexts)
    saved = np.bincount(context, weights=discount, minlength=contexts)
    back = np.divide(saved, total, out=np.ones(contexts), where=total > 0)
    total[total == 0] = 1  # only the first token of a document counts nothing
    return _Level(keys, (counts - discount) / total[context], back)


def _left_neighbours(suffix: Ints, number: Ints, longer: int, shorter: int) -> Ints:
    """Count, for each of the ``shorter`` n-grams, how many of the ``longer`` ones, one token more, end with it."""
    suffix_of = np.empty(longer, dtype=np.int64)
    suffix_of[number] = suffix
    return np.bincount(suffix_of, minlength=shorter)


def _depths(length: int, starts: Ints) -> Ints:
    """Return the number of tokens of its document before each position (length,)."""
    sizes = np.diff(starts, append=length)
    return np.arange(length) - np.repeat(starts, sizes)
