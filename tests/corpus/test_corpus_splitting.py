"""Splits: by group, stable, in the shares asked for; one long text is cut in order."""

from __future__ import annotations

import numpy as np
import pytest

from seedbed.core.errors import DataError
from seedbed.corpus.document import CorpusDocument
from seedbed.corpus.settings import CorpusSettings
from seedbed.corpus.splitting import CUT, TEST, TRAIN, VALID, GroupCutter, assign_splits, check_sizes, join_groups


def shares(valid: float, test: float, seed: int) -> CorpusSettings:
    return CorpusSettings(valid_share=valid, test_share=test, seed=seed)


SHARES = shares(0.1, 0.1, 0)


def keys(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(2**64, size=count, dtype=np.uint64)


def assign(groups: np.ndarray, settings: CorpusSettings = SHARES, sizes: np.ndarray | None = None) -> np.ndarray:
    sizes = np.full(len(groups), 100) if sizes is None else sizes
    return assign_splits(groups, sizes, np.ones(len(groups), dtype=bool), settings)


def test_shares_are_met_and_groups_stay_together() -> None:
    groups = np.repeat(keys(10_000), 3)
    splits = assign(groups)
    assert (splits.reshape(-1, 3) == splits.reshape(-1, 3)[:, :1]).all()
    for split, share in ((TRAIN, 0.8), (VALID, 0.1), (TEST, 0.1)):
        deviation = (share * (1 - share) / 10_000) ** 0.5
        assert abs((splits == split).mean() - share) < 4 * deviation


def test_more_documents_move_none_and_another_seed_moves_many() -> None:
    groups = keys(2000)
    before = assign(groups[:1000])
    assert np.array_equal(assign(groups)[:1000], before)
    assert (assign(groups[:1000], shares(0.1, 0.1, 7)) != before).mean() > 0.2


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [3, 4, 7])
def test_few_groups_fill_every_split(count: int, seed: int) -> None:
    splits = assign(keys(count, seed))
    assert set(splits.tolist()) == {TRAIN, VALID, TEST}


def test_the_smallest_groups_fill_what_the_hash_left_empty() -> None:
    """Training keeps most text; the hash's own choice is seen among many groups, where nothing is empty."""
    groups, many, filled = keys(3, 5), keys(1000, 6), 0
    for seed in range(20):
        settings = shares(0.1, 0.1, seed)
        hashed = assign(np.concatenate([groups, many]), settings)[:3]
        if set(hashed.tolist()) == {TRAIN}:
            assert assign(groups, settings, np.array([35, 20, 45])).tolist() == [TEST, VALID, TRAIN]
            filled += 1
    assert filled > 5


def test_no_validation_or_test_when_not_asked_for() -> None:
    assert set(assign(keys(50), shares(0, 0, 0)).tolist()) == {TRAIN}
    assert set(assign(keys(1), shares(0, 0, 0)).tolist()) == {TRAIN}
    assert set(assign(keys(50), shares(0.2, 0, 0)).tolist()) == {TRAIN, VALID}


def test_a_group_of_half_the_text_is_cut() -> None:
    assert assign(keys(1)).tolist() == [CUT]
    splits = assign(keys(4), sizes=np.array([10, 1000, 10, 10]))
    assert splits[1] == CUT
    assert CUT not in splits[[0, 2, 3]]


def test_clusters_join_their_groups() -> None:
    groups = np.array([10, 10, 20, 30, 30, 40], dtype=np.uint64)
    clusters = np.array([0, 1, 1, 3, 4, 5])  # documents 1 and 2 are near-duplicates
    joined = join_groups(groups, clusters)
    assert len({*joined[:3].tolist()}) == 1
    assert len({*joined.tolist()}) == 3


def document(text: str) -> CorpusDocument:
    return CorpusDocument(text, "s", "novel.txt", "novel.txt", "prose", "unknown")


@pytest.mark.parametrize("parts", [1, 4, 30])
def test_a_novel_is_cut_in_order_at_paragraphs(parts: int) -> None:
    paragraphs = [f"Paragraph {number}: {'läuft ' * (number % 7)}\n\n" for number in range(3000)]
    step = len(paragraphs) // parts
    documents = [document("".join(paragraphs[at : at + step])) for at in range(0, len(paragraphs), step)]
    whole = "".join(paragraphs)
    cutter = GroupCutter(len(whole.encode()), SHARES)
    pieces = [piece for one in documents for piece in cutter.cut(one)]
    assert "".join(piece.text for _, piece in pieces) == whole
    order = ["train", "valid", "test"]
    assert [split for split, _ in pieces] == sorted((split for split, _ in pieces), key=order.index)
    for split, share in zip(order, (0.8, 0.1, 0.1), strict=True):
        size = sum(piece.bytes for name, piece in pieces if name == split)
        assert abs(size / len(whole.encode()) - share) < 0.01
    assert all(piece.text.endswith("\n\n") for _, piece in pieces)


def test_cutting_without_a_test_split_leaves_the_rest_to_validation() -> None:
    text = "One line.\n\n" * 100
    pieces = list(GroupCutter(len(text), shares(0.25, 0, 0)).cut(document(text)))
    assert [(split, len(piece.text)) for split, piece in pieces] == [("train", 825), ("valid", 275)]


def test_too_little_text_is_an_error() -> None:
    with pytest.raises(DataError, match="valid and test would be empty"):
        check_sizes({"train": 9, "valid": 0, "test": 0}, SHARES)
