"""Lines that stand in many documents of a source: licence headers, navigation, footers.

The documents that hold a line, of copies of one text the first alone, are counted in a count-min sketch (Cormode &
Muthukrishnan 2005): two rows of counters whose size does not depend on the input. A count can only be too high, and by
more than a few only if two frequent lines collide in both rows. Short lines and headings are never boilerplate:
"## Installation" is structure.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
MIN_LINE = 20
"""Characters of the shortest line that can be boilerplate."""
MIN_DOCUMENTS = 10
"""In fewer documents than this a repeated line may well be meant."""
_SLOTS = 1 << 21
_SHIFT = 40


def line_hash(line: str) -> bytes | None:
    """Return eight bytes for a line that could be boilerplate, else nothing."""
    line = line.strip()
    if len(line) < MIN_LINE or line[0] == "#" or not any(map(str.isalpha, line)):
        return None
    return hashlib.blake2b(line.encode("utf-8", "replace"), digest_size=8).digest()


def document_lines(text: str) -> Hashes:
    """Return the hashes of a document's different lines."""
    found = {line_hash(line) for line in text.split("\n")} - {None}
    return np.frombuffer(b"".join(sorted(hashed for hashed in found if hashed)), dtype="<u8")


def hash64(texts: Sequence[str]) -> Hashes:
    """Return 64-bit hashes; among ten million texts two that differ share one with probability 3e-6."""
    digests = (hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


@dataclass(frozen=True)
class Boilerplate:
    """Boilerplate lines of a source: the slots of both rows of the sketch that are full enough (a handful)."""

    first: frozenset[int]
    second: frozenset[int]

    def strip(self, text: str, counts: Counter[str]) -> str:
        """Return a text without its boilerplate lines."""
        lines = text.split("\n")
        kept = [line for line in lines if not self.holds(line)]
        counts["boilerplate lines removed"] += len(lines) - len(kept)
        return "\n".join(kept)

    def count(self, text: str) -> int:
        """Return the number of a text's lines that are boilerplate."""
        return sum(self.holds(line) for line in text.split("\n"))

    def holds(self, line: str) -> bool:
        """Return whether a line is boilerplate."""
        hashed = line_hash(line)
        if hashed is None:
            return False
        number = int.from_bytes(hashed, "little")
        return number % _SLOTS in self.first and (number >> _SHIFT) % _SLOTS in self.second


class LineCounts:
    """Counts of the documents that hold each line, in bounded memory (16 MB)."""

    def __init__(self) -> None:
        self.documents = 0
        self._counts = np.zeros((2, _SLOTS), dtype=np.uint32)

    def add(self, hashes: Hashes, documents: int) -> None:
        """Count the lines of some documents; ``hashes`` holds each document's different lines."""
        self.documents += documents
        for row, shift in zip(self._counts, (0, _SHIFT), strict=True):
            slots = (hashes >> np.uint64(shift)) % np.uint64(_SLOTS)
            np.add.at(row, slots.astype(np.intp), 1)

    def frequent(self, share: float) -> Boilerplate | None:
        """Return the lines in more than ``share`` of the documents; None where there are none."""
        needed = max(MIN_DOCUMENTS, share * self.documents)
        first, second = (frozenset(np.flatnonzero(row > needed).tolist()) for row in self._counts)
        return Boilerplate(first, second) if first and second else None
