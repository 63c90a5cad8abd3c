"""Search by words: BM25 (Robertson and Zaragoza 2009, equation 3.15) over the lists of FTS5's index.

k1 = 1.2, b = 0.75 and the idf are those of FTS5's own ``bm25()``, and so are the scores. That function visits every
chunk that has one of the words, again for each search; here a word's part of each chunk's score is computed once and
kept (as bm25s does, Lù 2024), so that a search adds arrays: docs/log.md has the times. Words in more than half of the
chunks weigh next to nothing (1e-6) and are left out, unless there are no others. A word that the question repeats
counts as often: the equation sums over the words of the question.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed.search.nearest import Ranked, Rows, top_k, within

K1, B = 1.2, 0.75
MEMORY = 256 * 2**20
"""Bytes of scores held in memory."""
_LEAST = 1e-6
_DENSE = 8  # a word in more than one of so many chunks has a score for each chunk, added as a whole


@dataclass(frozen=True)
class PostingList:
    """A word's part of the scores of chunks: those at ``places`` (n,), or all chunks if that is None."""

    places: NDArray[np.int32] | None
    shares: NDArray[np.float32]

    def add_to(self, scores: NDArray[np.float32], times: int = 1) -> None:
        """Add the word's part to all chunks' scores, in place, as many ``times`` as the question has it."""
        shares = self.shares if times == 1 else np.float32(times) * self.shares
        if self.places is None:
            scores += shares
        else:
            scores[self.places] += shares

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.shares.nbytes + (0 if self.places is None else self.places.nbytes)


class WordIndex:
    """The word scores of a store, as long as it does not change."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory, self._held = memory, 0
        self._state: object = None
        self._parts: OrderedDict[str, PostingList] = OrderedDict()
        self._counts: dict[str, int] = {}
        self._rows: Rows = np.empty(0, np.int64)
        self._norms = np.empty(0, np.float32)

    def search(
        self, connection: sqlite3.Connection, stems: Sequence[str], k: int, allowed: Rows | None, state: object
    ) -> Ranked:
        """Return the ``k`` chunks with the highest scores, best first, of equals the older one; each has a word.

        Args:
            allowed: only these rows, ascending; None: all.
            state: differs when the store may have changed.
        """
        self._refresh(connection, state)
        scores = np.zeros(len(self._rows), np.float32)
        for part, times in self._selective(connection, stems):
            part.add_to(scores, times)
        if allowed is not None:
            scores[~within(self._rows, allowed)] = 0
        found = top_k(scores, k)
        ranked = [(int(self._rows[place]), float(scores[place])) for place in found if scores[place] > 0]
        return sorted(ranked, key=lambda pair: (-pair[1], pair[0]))

    def _refresh(self, connection: sqlite3.Connection, state: object) -> None:
        if state == self._state:
            return
        found = connection.execute("SELECT id, sz FROM words_docsize ORDER BY id").fetchall()
        self._rows = np.fromiter((row for row, _ in found), np.int64, len(found))
        lengths = np.fromiter((_tokens(size) for _, size in found), np.float32, len(found))
        self._norms = K1 * (1 - B + B * lengths / max(1e-9, float(lengths.mean()) if len(found) else 1.0))
        self._parts.clear()
        self._counts.clear()
        self._state, self._held = state, 0

    def _selective(self, connection: sqlite3.Connection, stems: Sequence[str]) -> list[tuple[PostingList, int]]:
        """Return the parts of words in at most half of the chunks, or of all that are there; others are not read.

        Each with the number of times that the question has it.
        """
        times = Counter(stems)
        there = [stem for stem in times if self._chunks_with(connection, stem)]
        rare = [stem for stem in there if self._chunks_with(connection, stem) <= len(self._rows) / 2]
        return [(self._part(connection, stem), times[stem]) for stem in rare or there]

    def _chunks_with(self, connection: sqlite3.Connection, stem: str) -> int:
        if stem not in self._counts:
            found = connection.execute("SELECT doc FROM temp.totals WHERE term = ?", (stem,)).fetchone()
            self._counts[stem] = found[0] if found else 0
        return self._counts[stem]

    def _part(self, connection: sqlite3.Connection, stem: str) -> PostingList:
        if stem in self._parts:
            self._parts.move_to_end(stem)
            return self._parts[stem]
        part = self._weighed(*_occurrences(connection, stem))
        self._parts[stem] = part
        self._held += part.size
        while self._held > self._memory and len(self._parts) > 1:
            self._held -= self._parts.popitem(last=False)[1].size
        return part

    def _weighed(self, rows: Rows, times: NDArray[np.float32]) -> PostingList:
        places, count = np.searchsorted(self._rows, rows), len(self._rows)
        odds = (count - len(rows) + 0.5) / (len(rows) + 0.5)
        idf = max(math.log(odds), _LEAST) if odds > 0 else _LEAST
        shares = (idf * times * (K1 + 1) / (times + self._norms[places])).astype(np.float32)
        if _DENSE * len(rows) <= count:
            return PostingList(places.astype(np.int32), shares)
        dense = np.zeros(count, np.float32)
        dense[places] = shares
        return PostingList(None, dense)


def _occurrences(connection: sqlite3.Connection, stem: str) -> tuple[Rows, NDArray[np.float32]]:
    """Return the rows of the chunks with a word, ascending, and how often each has it.

    SQLite joins all rows in one text: a fifth of the time that a Python number for each occurrence takes.
    """
    text = connection.execute("SELECT group_concat(doc) FROM temp.instances WHERE term = ?", (stem,)).fetchone()[0]
    every = np.fromstring(text or "", np.int64, sep=",")
    first = np.flatnonzero(np.diff(every, prepend=0))  # rows begin at 1
    return every[first], np.diff(first, append=len(every)).astype(np.float32)


def _tokens(sizes: bytes) -> int:
    """Sum the numbers of tokens in a row's columns: variable-length integers, seven bits a byte."""
    if len(sizes) == 2:
        return sizes[0] + sizes[1]
    total = value = 0
    for byte in sizes:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            total, value = total + value, 0
    return total
