"""The highest of many numbers, without putting the many in order.

Selection (``numpy.partition``) goes through all of them several times. The highest of each of some hundred groups are
found in one pass, and the k-th highest of those is a floor: k numbers reach it. Only what reaches it is selected from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from seedbed.vectors.arrays import Vectors

Places = NDArray[np.int64]
_GROUPS, _A_WANTED = 1024, 16
"""Groups at least, and for each number that is wanted."""


def best(scores: Vectors, k: int) -> Places:
    """Places of the ``k`` highest of (n,), in order of the places, so that of equals the first stay."""
    if len(scores) <= k:
        return np.arange(len(scores))
    few = np.flatnonzero(scores >= floor(scores, k))
    reached = scores[few]
    limit = np.partition(reached, len(reached) - k)[len(reached) - k]
    above = np.flatnonzero(reached > limit)
    equal = np.flatnonzero(reached == limit)[: k - len(above)]
    return np.asarray(few[np.sort(np.concatenate([above, equal]))])


def floor(scores: Vectors, k: int) -> float:
    """What at least ``k`` of (n,) reach, n >= k >= 1: the k-th highest, or somewhat less where there are many."""
    groups = max(_GROUPS, _A_WANTED * k)
    each = len(scores) // groups
    if each > 1:  # neighbours, often alike, are in different groups; the rest that fills no group can only be higher
        scores = scores[: groups * each].reshape(each, groups).max(axis=0)
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])
