"""Exact search by cosine over a store's vectors: kept in memory in blocks, read in blocks when there are too many.

A row of the store never changes, so what is in memory is brought up to date by difference: rows that went are dropped,
new ones are read. The result is exact: no approximate index, but a first look in 8 bits once a process has searched a
few times (``coarse.py``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seedbed.search.int8_prefilter import Coarse
from seedbed.search.top_k import best
from seedbed.vectors.arrays import Vectors

Rows = NDArray[np.int64]
Ranked = list[tuple[int, float]]
"""Row numbers of chunks and their scores, best first."""
BLOCK = 65_536
"""Vectors in a block; a block of new ones grows to this."""
MEMORY = 4 * 2**30
"""Bytes of vectors kept in memory unless told otherwise; beyond it they are read anew for each search."""
_USES, _MANY = 3, 4096  # a process that searches once, or few vectors, does without the first look
_STORED = np.dtype("<f4")


@dataclass(frozen=True)
class VectorBlock:
    """Row numbers, ascending, (n,) and the vectors of these rows (n, size)."""

    rows: Rows
    vectors: Vectors
    coarse: Coarse | None = None


def nearest(blocks: Iterable[VectorBlock], query: Vectors, k: int, allowed: Rows | None = None) -> Ranked:
    """The ``k`` rows whose vectors have the highest cosine with ``query``, best first; of equals the older one.

    Args:
        query: (size,), of length 1.
        allowed: ascending; only these rows.
    """
    rows, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for block in blocks:
        least = float(scores.min()) if len(scores) == k else -np.inf
        found, score = _scores(block, query, k, least, allowed)
        rows, scores = np.concatenate([rows, found]), np.concatenate([scores, score])
        kept = best(scores, k)
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))
    return [(int(rows[one]), float(scores[one])) for one in order]


def _scores(block: VectorBlock, query: Vectors, k: int, least: float, allowed: Rows | None) -> tuple[Rows, Vectors]:
    """The scores of all rows that may be among the best ``k`` and above ``least``."""
    if allowed is None:
        if block.coarse is None or k >= len(block.rows):
            return block.rows, block.vectors @ query
        kept = block.coarse.candidates(query, k, least)
        return block.rows[kept], block.vectors[kept] @ query
    kept = np.flatnonzero(within(block.rows, allowed))
    if 4 * len(kept) < len(block.rows):  # few: do not read the others' vectors
        return block.rows[kept], block.vectors[kept] @ query
    return block.rows[kept], (block.vectors @ query)[kept]


def within(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Which of ``rows`` are among ``others`` (both ascending)."""
    if not len(others):
        return np.zeros(len(rows), bool)
    places = np.searchsorted(others, rows)
    return np.asarray(others[np.minimum(places, len(others) - 1)] == rows)


class Cache:
    """A store's vectors in memory, up to ``memory`` bytes."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._blocks: list[VectorBlock] = []
        self._state: object = None
        self._maker, self._uses = "", 0

    def blocks(self, connection: sqlite3.Connection, size: int, maker: str, state: object) -> Iterable[VectorBlock]:
        """All vectors.

        Args:
            maker: names what made the vectors; another one has made all of them anew.
            state: another one when the store may have changed.
        """
        if state == self._state:
            self._uses += 1
            if self._uses == _USES:
                self._blocks = [_with_coarse(block) for block in self._blocks]
            return self._blocks
        self._uses = 0
        if maker != self._maker:
            self._blocks, self._state, self._maker = [], None, maker
        rows = _row_numbers(connection)
        if len(rows) * size * _STORED.itemsize > self._memory:
            self._blocks, self._state = [], None
            return _read(connection, size)
        self._blocks = _join([*self._kept(rows), *_read(connection, size, self._last())])
        self._state = state
        return self._blocks

    def _last(self) -> int:
        return int(self._blocks[-1].rows[-1]) if self._blocks else 0

    def _kept(self, rows: Rows) -> Iterator[VectorBlock]:
        """The blocks without the rows that went."""
        for block in self._blocks:
            there = within(block.rows, rows)
            if there.all():
                yield block
            elif there.any():
                yield VectorBlock(block.rows[there], block.vectors[there])


def _join(blocks: list[VectorBlock]) -> list[VectorBlock]:
    """Neighbours that fit in one block become one, so that many small additions do not stay many small blocks."""
    joined: list[VectorBlock] = []
    for block in blocks:
        if joined and len(joined[-1].rows) + len(block.rows) <= BLOCK:
            last = joined.pop()
            block = VectorBlock(np.concatenate([last.rows, block.rows]), np.concatenate([last.vectors, block.vectors]))
        joined.append(block)
    return joined


def _with_coarse(block: VectorBlock) -> VectorBlock:
    return block if len(block.rows) < _MANY else VectorBlock(block.rows, block.vectors, Coarse.of(block.vectors))


def _row_numbers(connection: sqlite3.Connection) -> Rows:
    query = "SELECT row FROM vectors INDEXED BY vector_rows ORDER BY row"  # small, beside the vectors themselves
    return np.fromiter((row for (row,) in connection.execute(query)), np.int64)


def _read(connection: sqlite3.Connection, size: int, after: int = 0) -> Iterator[VectorBlock]:
    found = connection.execute("SELECT row, vector FROM vectors WHERE row > ? ORDER BY row", (after,))
    while batch := found.fetchmany(BLOCK):
        vectors = np.frombuffer(b"".join(vector for _, vector in batch), _STORED).astype(np.float32, copy=False)
        yield VectorBlock(np.fromiter((row for row, _ in batch), np.int64, len(batch)), vectors.reshape(-1, size))
