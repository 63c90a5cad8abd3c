"""Exact and near duplicates over a corpus of any size: what is compared lies on disk, a band at a time in memory.

Signatures and band keys go to files as documents arrive. Then each band is sorted on its own (16 bytes a document);
documents with equal keys are candidates, and the estimated Jaccard similarity of their signatures decides. Pairs are
joined by union-find, so a chain of near-duplicates is one cluster.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus.minhash import PERMUTATIONS, Bands, Keys, bands_for

Indices = NDArray[np.int64]
Flags = NDArray[np.bool_]
_NEIGHBOURS = 32  # a document is compared with so many that follow it in its run of equal keys
_PAIRS = 1 << 14  # pairs compared at once; each touches two pages of the signature file


class UnionFind:
    """Union–find: sets of documents that belong together; the smallest index stands for its set."""

    def __init__(self, count: int) -> None:
        self._parent = np.arange(count, dtype=np.int64)

    def find(self, item: int) -> int:
        """Return the representative of an item's set."""
        parent = self._parent
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = int(parent[item])
        return item

    def join(self, one: int, other: int) -> None:
        """Make two sets one."""
        first, second = sorted((self.find(one), self.find(other)))
        self._parent[second] = first

    def representatives(self) -> Indices:
        """Return the representative of every item."""
        parent = self._parent
        while True:
            further = parent[parent]
            if np.array_equal(further, parent):
                return parent.copy()
            parent[:] = further


def repeated(hashes: Keys) -> Flags:
    """Return a flag for every item: it has the hash of an earlier one."""
    flags = np.ones(len(hashes), dtype=bool)
    flags[np.unique(hashes, return_index=True)[1]] = False
    return flags


class SignatureWriter(ExitStack):
    """Appends signatures and their band keys to files in a folder, which are open until the block ends."""

    def __init__(self, folder: Path, threshold: float) -> None:
        super().__init__()
        self.index = NearIndex(folder, threshold, bands_for(threshold))
        self._signatures = self.enter_context(self.index.signature_file.open("wb"))
        self._bands = [self.enter_context(self.index.band_file(b).open("wb")) for b in range(self.index.bands.count)]

    def add(self, signatures: NDArray[np.uint32]) -> None:
        """Append the signatures (documents, PERMUTATIONS) of some documents."""
        self._signatures.write(signatures.tobytes())
        for file, keys in zip(self._bands, self.index.bands.keys(signatures).T, strict=True):
            file.write(keys.tobytes())


@dataclass(frozen=True)
class NearIndex:
    """Signatures and band keys on disk, and the pairs that are near."""

    folder: Path
    threshold: float
    bands: Bands

    @property
    def signature_file(self) -> Path:
        """Return every document's signature, in order."""
        return self.folder / "signatures.u32"

    def band_file(self, band: int) -> Path:
        """Return every document's key in a band, in order."""
        return self.folder / f"band-{band:03}.u64"

    def near_pairs(self, present: Flags) -> Iterator[Indices]:
        """Yield pairs of present documents whose estimated similarity reaches the threshold, in blocks (pairs, 2).

        A pair may come more than once (from several bands); the smaller index is first.
        """
        documents = np.flatnonzero(present)
        for band in range(self.bands.count):
            keys = np.fromfile(self.band_file(band), dtype=np.uint64)[documents]
            order = np.argsort(keys, kind="stable")
            for left, right in meetings(keys[order], _NEIGHBOURS):
                pairs = np.stack([documents[order[left]], documents[order[right]]], axis=1)
                yield from self._verified(pairs)

    def _verified(self, pairs: Indices) -> Iterator[Indices]:
        for start in range(0, len(pairs), _PAIRS):
            block = pairs[start : start + _PAIRS]
            # Mapped anew for every block, so that pages which were touched do not add up.
            stored = np.memmap(self.signature_file, dtype=np.uint32, mode="r").reshape(-1, PERMUTATIONS)
            similarity = (stored[block[:, 0]] == stored[block[:, 1]]).mean(axis=1)
            yield block[similarity >= self.threshold]


def meetings(keys: Keys, neighbours: int) -> Iterator[tuple[Indices, Indices]]:
    """Yield places of equal keys in sorted keys: each with its next neighbours, and with the first of its run."""
    if not len(keys):
        return
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    run_start = np.repeat(starts, np.diff(np.r_[starts, len(keys)]))
    place = np.arange(len(keys))
    for distance in range(1, neighbours + 1):
        right = place[distance:][run_start[distance:] == run_start[: len(keys) - distance]]
        if not len(right):
            return
        yield right - distance, right
    far = place[place - run_start > neighbours]
    yield run_start[far], far


def remove_near(index: NearIndex, present: Flags) -> Flags:
    """Return the documents that are left when the first of every cluster of near-duplicates is kept.

    Repeated until nothing is found: documents that stood far apart in a long run of equal keys become neighbours.
    """
    kept, sets = present.copy(), UnionFind(len(present))
    while _join_all(index, kept, sets):
        kept &= sets.representatives() == np.arange(len(kept))
    return kept


def near_clusters(index: NearIndex, present: Flags) -> Indices:
    """Return for every document the first of its cluster of near-duplicates (itself when it has none)."""
    sets = UnionFind(len(present))
    _join_all(index, present, sets)
    return sets.representatives()


def _join_all(index: NearIndex, present: Flags, sets: UnionFind) -> int:
    found = 0
    for pairs in index.near_pairs(present):
        for one, other in pairs.tolist():
            sets.join(one, other)
        found += len(pairs)
    return found
