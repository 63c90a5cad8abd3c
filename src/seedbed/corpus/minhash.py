"""MinHash signatures: how much of two documents' five-word shingles is the same, from 512 bytes a document.

Broder (1997): for a random permutation of all shingles, two sets have the same smallest element with a probability
that is their Jaccard similarity. 128 multiply-add functions modulo 2^64 stand in for permutations; the estimate has a
standard error of at most 0.044. Bands of rows (Leskovec, Rajaraman & Ullman, *Mining of Massive Datasets*, 3.4)
find the pairs worth comparing: two documents meet in a band when all its rows agree.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed.vectors.words import smallest_words

Signature = NDArray[np.uint32]  # (PERMUTATIONS,)
Keys = NDArray[np.uint64]

PERMUTATIONS = 128
SHINGLE_WORDS = 5
RECALL = 0.999
"""Two documents at the threshold meet in some band with at least this probability."""
_BLOCK = 1024  # shingles hashed at once: 128 x 1024 x 8 bytes stay in the second-level cache
_ODD = np.array(  # one odd multiplier a place in the shingle
    [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93, 0xFF51AFD7ED558CCD],
    dtype=np.uint64,
)


def _functions() -> tuple[Keys, Keys]:
    """Return fixed random multipliers (odd) and offsets, each (PERMUTATIONS, 1)."""
    drawn = np.random.Generator(np.random.PCG64(20_240_601)).integers(2**64, size=(2, PERMUTATIONS, 1), dtype=np.uint64)
    return drawn[0] | np.uint64(1), drawn[1]


_MULTIPLIERS, _OFFSETS = _functions()


def shingles(text: str) -> Keys:
    """Return the hashes of a text's five-word runs in their order, case and punctuation aside; at least one."""
    words = smallest_words(text)
    known = {word: zlib.crc32(word.encode("utf-8", "replace")) for word in set(words)}
    codes = np.fromiter((known[word] for word in words), dtype=np.uint64, count=len(words))
    if len(codes) < SHINGLE_WORDS:
        codes = np.pad(codes, (0, SHINGLE_WORDS - len(codes)))
    count = len(codes) - SHINGLE_WORDS + 1
    mixed = np.zeros(count, dtype=np.uint64)
    for place in range(SHINGLE_WORDS):
        mixed += mix(codes[place : place + count] * _ODD[place])
    return mix(mixed)


def mix(values: Keys) -> Keys:
    """Return a bijection of 64-bit values whose output bits all depend on all input bits (splitmix64's finaliser)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def signature(hashes: Keys) -> Signature:
    """Return the smallest value of each of the 128 functions over a text's shingles, its upper 32 bits."""
    hashes = np.unique(hashes)
    smallest = np.full(PERMUTATIONS, np.iinfo(np.uint64).max, dtype=np.uint64)
    for start in range(0, len(hashes), _BLOCK):
        values = hashes[None, start : start + _BLOCK] * _MULTIPLIERS
        values += _OFFSETS
        np.minimum(smallest, values.min(axis=1), out=smallest)
    return (smallest >> np.uint64(32)).astype(np.uint32)


@dataclass(frozen=True, slots=True)
class Bands:
    """Bands of a signature: ``count`` bands of ``rows`` values."""

    count: int
    rows: int

    def recall(self, similarity: float) -> float:
        """Return the probability that two documents of this similarity meet in some band."""
        return float(1 - (1 - similarity**self.rows) ** self.count)

    def keys(self, signatures: NDArray[np.uint32]) -> Keys:
        """Return one 64-bit key a band: (documents, PERMUTATIONS) → (documents, count)."""
        used = signatures[:, : self.count * self.rows].reshape(len(signatures), self.count, self.rows)
        keys = np.zeros((len(signatures), self.count), dtype=np.uint64)
        for row in range(self.rows):
            keys = mix(keys ^ used[:, :, row].astype(np.uint64)) + np.uint64(row + 1)
        return keys


def bands_for(threshold: float) -> Bands:
    """Return the longest rows (fewest chance meetings) that find pairs at the threshold with probability RECALL."""
    for rows in range(PERMUTATIONS // 2, 1, -1):
        bands = Bands(PERMUTATIONS // rows, rows)
        if bands.recall(threshold) >= RECALL:
            return bands
    return Bands(PERMUTATIONS, 1)
