"""Arrays of vectors, dense and sparse, and the highest of many scores.

Selection (``numpy.partition``) passes over all numbers several times. The maxima of some hundred groups are found in
one pass, and the k-th highest maximum is a lower bound that at least k numbers reach; only these are selected from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Vectors as float32: (N, size), or (size,) for one."""
_GROUPS, _GROUPS_PER_RESULT = 1024, 16


@dataclass(frozen=True)
class SparseRows:
    """Sparse rows: row ``i`` has ``values[starts[i]:starts[i + 1]]`` in ``columns[starts[i]:starts[i + 1]]``."""

    starts: NDArray[np.int64]
    columns: NDArray[np.int64]
    values: Vectors

    def __len__(self) -> int:
        return len(self.starts) - 1

    def dense(self, width: int) -> Vectors:
        """Return the rows as an array (N, width)."""
        found = np.zeros((len(self), width), np.float32)
        found[np.repeat(np.arange(len(self)), np.diff(self.starts)), self.columns] = self.values
        return found


def unit(vectors: Vectors) -> Vectors:
    """Return vectors (N, size) scaled to length 1; zeros stay zeros."""
    vectors = np.asarray(vectors, np.float32)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), np.float32)


def top_k(scores: Vectors, k: int) -> NDArray[np.int64]:
    """Return the places of the ``k`` highest of (n,) scores, ascending; of equal scores the first are kept."""
    if len(scores) <= k:
        return np.arange(len(scores))
    candidates = np.flatnonzero(scores >= top_k_bound(scores, k))
    reached = scores[candidates]
    limit = np.partition(reached, len(reached) - k)[len(reached) - k]
    above = np.flatnonzero(reached > limit)
    equal = np.flatnonzero(reached == limit)[: k - len(above)]
    return np.asarray(candidates[np.sort(np.concatenate([above, equal]))])


def top_k_bound(scores: Vectors, k: int) -> float:
    """Return a number that at least ``k`` of (n,) scores reach, n >= k >= 1: the k-th highest, or a little less."""
    groups = max(_GROUPS, _GROUPS_PER_RESULT * k)
    each = len(scores) // groups
    if each > 1:  # neighbours, often alike, are in different groups; the rest that fills no group can only be higher
        scores = scores[: groups * each].reshape(each, groups).max(axis=0)
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])
