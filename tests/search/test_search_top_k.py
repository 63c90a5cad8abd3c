"""The highest of many numbers, against sorting all of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.search.nearest import top_k, top_k_bound


def expected(scores: np.ndarray, k: int) -> list[int]:
    """By a stable sort: of equals the first."""
    return sorted(np.argsort(-scores, kind="stable")[:k].tolist())


@given(st.integers(0, 2**32), st.integers(1, 30_000), st.integers(1, 200), st.integers(1, 50_000))
def test_they_are_those_of_a_sort(seed: int, count: int, k: int, values: int) -> None:
    """With few different values there are many equals."""
    scores = np.random.default_rng(seed).integers(0, values, count).astype(np.float32)
    assert top_k(scores, k).tolist() == expected(scores, k)


@pytest.mark.parametrize("count", [1, 100, 1024, 2048, 5000, 100_000])
def test_at_least_so_many_reach_the_floor(count: int) -> None:
    scores = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    for k in (1, 4, 100, count):
        if k <= count:
            reached = int((scores >= top_k_bound(scores, k)).sum())
            assert k <= reached <= max(k + 1, 1.5 * k) + (count == k)


def test_the_highest_may_all_be_neighbours_or_all_in_one_group() -> None:
    """Groups are every 1024th number; the rest at the end is in none."""
    for places in (range(500, 600), range(7, 1024 * 90, 1024), range(100_000 - 100, 100_000)):
        scores = np.zeros(100_000, np.float32)
        scores[list(places)] = 1.0
        assert top_k(scores, len(places)).tolist() == list(places)
