"""Search by words: BM25 (Robertson and Zaragoza 2009, equation 3.15) over the lists of FTS5's index.

k1 = 1.2, b = 0.75 and the idf are those of FTS5's own ``bm25()``, and so are the scores. That function goes through
every chunk that has one of the words, for each search anew; here a word's share of each chunk's score is computed once
and kept (as bm25s does, Lù 2024), so that a search adds up arrays. Words of more than half of the chunks weigh next to
nothing there (1e-6) and are left out, unless there are no others.
"""

from __future__ import annotations

import math
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seedbed.rag.nearest import Ranked, Rows, best, within

K1, B = 1.2, 0.75
MEMORY = 256 * 2**20
"""Bytes of scores that are kept."""
_LEAST = 1e-6
Part = tuple[NDArray[np.int32], NDArray[np.float32]]
"""Places of chunks and what a word adds to their scores."""


class WordIndex:
    """A store's word scores, as long as it does not change."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory, self._held = memory, 0
        self._state: object = None
        self._parts: OrderedDict[str, Part] = OrderedDict()
        self._rows: Rows = np.empty(0, np.int64)
        self._norms = np.empty(0, np.float32)

    def search(
        self, connection: sqlite3.Connection, stems: Sequence[str], k: int, allowed: Rows | None, state: object
    ) -> Ranked:
        """The ``k`` chunks with the highest scores, best first, of equals the older one; each has one of the words.

        Args:
            allowed: ascending; only these rows.
            state: another one when the store may have changed.
        """
        self._refresh(connection, state)
        scores = np.zeros(len(self._rows), np.float32)
        for places, shares in self._telling(connection, stems):
            scores[places] += shares
        if allowed is not None:
            scores[~within(self._rows, allowed)] = 0
        found = best(scores, k)
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
        self._state, self._held = state, 0

    def _telling(self, connection: sqlite3.Connection, stems: Sequence[str]) -> list[Part]:
        parts = [self._part(connection, stem) for stem in dict.fromkeys(stems)]
        return [part for part in parts if len(part[0]) <= len(self._rows) / 2] or parts

    def _part(self, connection: sqlite3.Connection, stem: str) -> Part:
        if stem in self._parts:
            self._parts.move_to_end(stem)
            return self._parts[stem]
        select = "SELECT doc, count(*) FROM temp.instances WHERE term = ? GROUP BY doc"
        found = np.array(connection.execute(select, (stem,)).fetchall(), np.int64).reshape(-1, 2)
        places, times = np.searchsorted(self._rows, found[:, 0]), found[:, 1].astype(np.float32)
        odds = (len(self._rows) - len(found) + 0.5) / (len(found) + 0.5)
        idf = max(math.log(odds), _LEAST) if odds > 0 else _LEAST
        part = places.astype(np.int32), (idf * times * (K1 + 1) / (times + self._norms[places])).astype(np.float32)
        self._parts[stem] = part
        self._held += 8 * len(places)
        while self._held > self._memory and len(self._parts) > 1:
            _, (dropped, _) = self._parts.popitem(last=False)
            self._held -= 8 * len(dropped)
        return part


def _tokens(sizes: bytes) -> int:
    """The sum of the numbers of tokens in a row's columns: variable-length integers, seven bits a byte."""
    if len(sizes) == 2:
        return sizes[0] + sizes[1]
    total = value = 0
    for byte in sizes:
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            total, value = total + value, 0
    return total
