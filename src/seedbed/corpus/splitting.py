"""The split of each document: chosen by group, by hash, so that adding a document moves no other.

A group's place between 0 and 1 is a hash of its name and the seed; the lowest tenth is the test set, the next
validation. Groups that hold near-duplicates of each other are one. With few groups, every split still gets one. A
group that is half of the text or more (one novel) cannot go to one side: it is cut in its own order, training first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from seedbed.core.errors import DataError
from seedbed.corpus.document import CorpusDocument, Split
from seedbed.corpus.duplicates import Flags, Indices, UnionFind
from seedbed.corpus.minhash import Keys, mix
from seedbed.corpus.settings import CorpusSettings
from seedbed.documents.text_spans import cut_place

TRAIN, VALID, TEST, CUT = 0, 1, 2, 3
"""Indices into SPLITS; CUT marks the documents of the group that is cut."""


def join_groups(groups: Keys, clusters: Indices) -> Keys:
    """Return a group key for every document, the same for all groups that share a cluster of near-duplicates."""
    names, number = np.unique(groups, return_inverse=True)
    sets = UnionFind(len(names))
    for document in np.flatnonzero(clusters != np.arange(len(clusters))).tolist():
        sets.join(int(number[document]), int(number[clusters[document]]))
    joined: Keys = names[sets.representatives()[number]]
    return joined


def assign_splits(groups: Keys, sizes: NDArray[np.int64], kept: Flags, settings: CorpusSettings) -> NDArray[np.int8]:
    """Return the split of every document (index into SPLITS, or CUT); documents that are not kept get TRAIN.

    ``groups`` has each document's group key, ``sizes`` its bytes, ``kept`` whether it is still there.
    """
    names, number = np.unique(groups[kept], return_inverse=True)
    weight = np.bincount(number, weights=sizes[kept], minlength=len(names)).astype(np.float64)
    choice = _by_hash(names, settings)
    largest = int(weight.argmax())
    if settings.valid_share + settings.test_share > 0 and weight[largest] >= weight.sum() / 2:
        choice[largest] = CUT
    else:
        _fill_empty(choice, weight, settings)
    splits = np.zeros(len(groups), dtype=np.int8)
    splits[kept] = choice[number]
    return splits


def _by_hash(names: Keys, settings: CorpusSettings) -> NDArray[np.int8]:
    place = mix(names ^ mix(np.array([settings.seed + 1], dtype=np.uint64))) / 2.0**64
    choice = np.full(len(names), TRAIN, dtype=np.int8)
    choice[place < settings.test_share + settings.valid_share] = VALID
    choice[place < settings.test_share] = TEST
    return choice


def _fill_empty(choice: NDArray[np.int8], weight: NDArray[np.float64], settings: CorpusSettings) -> None:
    """Give an empty split the smallest group of the fullest split."""
    for split, share in enumerate(settings.shares.values()):
        if share > 0 and not (choice == split).any():
            donor = int(np.bincount(choice, minlength=3).argmax())
            candidates = np.flatnonzero(choice == donor)
            choice[candidates[weight[candidates].argmin()]] = split


class GroupCutter:
    """Cuts the documents of one group, in their order, into training, validation and test text."""

    def __init__(self, size: int, settings: CorpusSettings) -> None:
        # Bytes each split still takes; the last one takes what is left over.
        self._left = {split: size * share for split, share in settings.shares.items() if share > 0}
        self._last = list(self._left)[-1]

    def cut(self, document: CorpusDocument) -> Iterator[tuple[Split, CorpusDocument]]:
        """Yield the pieces of a document, each at a paragraph's end, and the split of each."""
        text, pieces = document.text, list[tuple[Split, str]]()
        for split, left in self._left.items():
            if not text:
                break
            if left < 1 and split != self._last:
                continue
            size = len(text.encode())
            if size <= left or split == self._last:
                piece, text = text, ""
            else:
                at = cut_place(text, max(1, int(len(text) * left / size)))
                piece, text = text[:at], text[at:]
            self._left[split] = 0.0 if text else left - len(piece.encode())
            pieces.append((split, piece))
        for split, piece in pieces:
            path = document.path if len(pieces) == 1 else f"{document.path}:{split}"
            yield split, replace(document, text=piece, path=path)


def check_sizes(bytes_of: dict[Split, int], settings: CorpusSettings) -> None:
    """Raise DataError unless every split that was asked for has text."""
    if empty := [split for split, share in settings.shares.items() if share > 0 and not bytes_of[split]]:
        raise DataError(
            f"there is too little text to split: {' and '.join(empty)} would be empty",
            why=f"{sum(bytes_of.values())} bytes are left after cleaning",
            fix="add more text, or set valid_share and test_share to 0",
        )
