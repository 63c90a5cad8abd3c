"""Containment: excerpts of a document, and copies of it with words changed here and there.

The Jaccard similarity of two documents says little of these: an excerpt has few of the whole's shingles, and one
changed word in ten breaks four shingles in ten. So a fixed quarter of all five-word shingles, chosen by their hash
(Broder 1997, "modulo m"; FracMinHash of Irber et al. 2022), is kept with its place. The words of the smaller document
that lie within eight words of a shingle that the larger one has too are covered; their share is the containment. Of an
unrelated document it is 0 but for a phrase; `python benchmarks/near_duplicates.py` measures what is found.

What is compared lies on disk, a sixteenth of the hashes at a time in memory; the shingles that pairs share are held.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus.duplicates import Flags, Indices, UnionFind, meetings
from seedbed.corpus.minhash import SHINGLE_WORDS, Keys

SAMPLED = 4
"""One shingle in so many is kept."""
REACH = 8
"""Words before and after a shared shingle that count as covered."""
LEAST_SHARED = 6
"""Sampled shingles that two documents share at least; documents of under some 30 words never do."""
LEAST_SHARE = 0.3
"""The share of the smaller document's sampled shingles that is shared at least."""
_PARTS = 16  # files by hash
_NEIGHBOURS = 8  # a shingle's documents are each compared with so many that follow, and with the first
_RECORD = np.dtype([("hash", "<u8"), ("document", "<u4"), ("place", "<u4")])
Records = NDArray[np.void]


@dataclass(frozen=True)
class Samples:
    """The sampled shingles of some documents, and how many words and sampled shingles each document has."""

    records: Records  # of _RECORD; documents are counted from 0
    words: NDArray[np.int64]
    shingles: NDArray[np.int64]


def sample(hashes: list[Keys]) -> Samples:
    """Return the sampled shingles of documents, given the hashes of each one's shingles in their order."""
    places = [np.flatnonzero(one % np.uint64(SAMPLED) == 0) for one in hashes]
    records = np.empty(sum(map(len, places)), _RECORD)
    if hashes:
        records["hash"] = np.concatenate([one[at] for one, at in zip(hashes, places, strict=True)])
        records["document"] = np.repeat(np.arange(len(places)), [len(at) for at in places])
        records["place"] = np.concatenate(places)
    lengths = [len(one) + SHINGLE_WORDS - 1 for one in hashes]
    return Samples(records, np.array(lengths, np.int64), np.array([len(at) for at in places], np.int64))


class OverlapWriter(ExitStack):
    """Appends sampled shingles to files in a folder, which are open until the block ends."""

    def __init__(self, folder: Path, threshold: float) -> None:
        super().__init__()
        self._folder, self._threshold = folder, threshold
        self._files = [self.enter_context(_part_file(folder, part).open("wb")) for part in range(_PARTS)]
        self._words, self._shingles, self._count = list[NDArray[np.int64]](), list[NDArray[np.int64]](), 0

    def add(self, samples: Samples) -> None:
        """Append the samples of the next documents."""
        records = samples.records.copy()
        records["document"] += np.uint32(self._count)
        parts = records["hash"] // np.uint64(SAMPLED) % np.uint64(_PARTS)
        for part, file in enumerate(self._files):
            file.write(records[parts == part].tobytes())
        self._words.append(samples.words)
        self._shingles.append(samples.shingles)
        self._count += len(samples.words)

    @property
    def index(self) -> OverlapIndex:
        """The index of what was written."""
        words, shingles = (np.concatenate(some) for some in (self._words, self._shingles))
        return OverlapIndex(self._folder, self._threshold, words, shingles)


@dataclass(frozen=True)
class OverlapIndex:
    """Sampled shingles on disk, and the documents that stand in others.

    Attributes:
        threshold: the containment that makes a document a part of another.
        words, shingles: (documents,).
    """

    folder: Path
    threshold: float
    words: NDArray[np.int64]
    shingles: NDArray[np.int64]

    def contained(self, present: Flags) -> Indices:
        """Return pairs (pairs, 2) of present documents: one that stands in another, and that one.

        The smaller of two stands in the larger; of equals the later in the earlier. The pairs of larger ones are first.
        """
        keys, places = self._shared(present)
        if not len(keys):
            return np.empty((0, 2), np.int64)
        first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        counts = np.diff(np.r_[first, len(keys)])
        pairs = np.stack([keys[first] >> np.uint64(32), keys[first] & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)
        inner, outer = pairs.T
        share = _covered(places, first, self.words[inner]) / self.words[inner]
        enough = (counts >= LEAST_SHARED) & (counts >= LEAST_SHARE * self.shingles[inner])
        found = pairs[enough & (share >= self.threshold)]
        outer = found[:, 1]
        ordered: Indices = found[np.lexsort((found[:, 0], outer, -self.words[outer]))]
        return ordered

    def _shared(self, present: Flags) -> tuple[Keys, NDArray[np.int64]]:
        """Return a key for every shingle that two documents share (which two), and its place in the smaller; sorted."""
        found = [part for number in range(_PARTS) for part in self._shared_in(number, present)]
        keys = np.concatenate([keys for keys, _ in found]) if found else np.empty(0, np.uint64)
        places = np.concatenate([places for _, places in found]) if found else np.empty(0, np.int64)
        order = np.lexsort((places, keys))
        keys, places = keys[order], places[order]
        new = np.r_[True, (keys[1:] != keys[:-1]) | (places[1:] != places[:-1])] if len(keys) else np.empty(0, bool)
        return keys[new], places[new]

    def _shared_in(self, part: int, present: Flags) -> Iterator[tuple[Keys, NDArray[np.int64]]]:
        records = np.fromfile(_part_file(self.folder, part), dtype=_RECORD)
        records = records[present[records["document"]]]
        records = records[np.argsort(records["hash"], kind="stable")]
        documents, places = records["document"].astype(np.int64), records["place"].astype(np.int64)
        for left, right in meetings(records["hash"], _NEIGHBOURS):
            # records of equal hash are in the order of documents: the left one's is the earlier, or the same
            apart = documents[left] != documents[right]
            left, right = left[apart], right[apart]
            larger = self.words[documents[right]] > self.words[documents[left]]
            inner, outer = np.where(larger, left, right), np.where(larger, right, left)
            keys = documents[inner].astype(np.uint64) << np.uint64(32) | documents[outer].astype(np.uint64)
            yield keys, places[inner]


def remove_contained(index: OverlapIndex, present: Flags) -> Flags:
    """Return the documents that are left when those that stand in one that is left are removed.

    Repeated until nothing is found, as not every document is compared with every other at once.
    """
    kept = present.copy()
    while len(pairs := index.contained(kept)):
        for inner, outer in pairs.tolist():
            if kept[outer]:
                kept[inner] = False
    return kept


def join_contained(index: OverlapIndex, present: Flags, clusters: Indices) -> Indices:
    """Return the clusters (each document's first) joined where a document of one stands in one of another."""
    sets = UnionFind(len(clusters))
    for one, first in enumerate(clusters.tolist()):
        sets.join(one, first)
    for inner, outer in index.contained(present).tolist():
        sets.join(inner, outer)
    return sets.representatives()


def _covered(places: NDArray[np.int64], first: Indices, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the words within REACH of a shared shingle, given the places of pair after pair and where each begins."""
    last = np.r_[first[1:], len(places)] - 1
    between = np.minimum(np.diff(places, append=0), 2 * REACH + SHINGLE_WORDS)
    between[last] = np.minimum(lengths - places[last], REACH + SHINGLE_WORDS)
    covered: NDArray[np.int64] = np.add.reduceat(between, first) + np.minimum(places[first], REACH)
    return covered


def _part_file(folder: Path, part: int) -> Path:
    return folder / f"overlap-{part:02}.records"
