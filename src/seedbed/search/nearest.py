"""Exact search by cosine over a store's vectors: held in memory in blocks, read in blocks when there are too many.

A row of the store never changes, so the blocks in memory are updated by difference: deleted rows are dropped, new ones
read. The result is exact: there is no approximate index, but an 8-bit prefilter once a process has searched a few
times: it leaves out vectors that cannot be among the best. A vector is codes times a scale plus an error of known
length, so its product with a query is known up to a bound (Cauchy-Schwarz). Vectors below the k-th best by more than
the bounds are not read in full: a quarter of the memory is read, and reading takes most of the time.

Selection (``numpy.partition``) passes over all numbers several times. The maxima of some hundred groups are found in
one pass, and the k-th highest maximum is a lower bound that at least k numbers reach; only these are selected from.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.core.errors import CorruptError
from seedbed.vectors.lsa import Vectors

Rows = NDArray[np.int64]
Ranked = list[tuple[int, float]]
"""Row numbers of chunks and their scores, best first."""
BLOCK = 65_536
"""Vectors of a block; blocks of new vectors grow to this."""
MEMORY = 4 * 2**30
"""Bytes of vectors held in memory by default; more vectors than that are read again for each search."""
_USES, _MANY = 3, 4096  # searches, and vectors of a block, from which the prefilter pays
_STORED = np.dtype("<f4")
_ROUNDING = np.float32(1e-5)  # of the sums themselves
_GROUPS, _GROUPS_PER_RESULT = 1024, 16


@dataclass(frozen=True)
class Int8Codes:
    """Vectors (n, size) as ``codes * scales + errors``; only the lengths of the errors are kept.

    The products of codes are PyTorch's (VNNI where the machine has it).
    """

    codes: Any  # torch int8 (n, size)
    scales: Vectors
    errors: Vectors

    @classmethod
    def of(cls, vectors: Vectors) -> Int8Codes:
        """Encode vectors, in parts because the codes pass through floats."""
        import torch

        parts = [_coded(vectors[at : at + 8192]) for at in range(0, len(vectors), 8192)]
        codes, scales, errors = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(torch.from_numpy(codes), scales, errors)

    def candidates(self, query: Vectors, k: int, least: float = -np.inf) -> Any:
        """Return the places, ascending, of vectors whose products with ``query`` may be among the ``k`` highest and
        reach ``least``."""
        import torch

        codes, scales, _ = _coded(query[None])
        products = torch._int_mm(self.codes, torch.from_numpy(codes.T)).numpy()[:, 0]
        found = np.multiply(products, self.scales, dtype=np.float32, casting="unsafe")  # not the double it would be
        found *= scales[0]
        missed = np.float32(np.linalg.norm(query - codes[0] * scales[0]))
        # |qv - cd| <= |q - c| |v| + |c| |v - d|; a stored vector's length is at most 1
        bounds = self.errors * (np.float32(np.linalg.norm(query)) + missed)
        bounds += missed + _ROUNDING
        surest = top_k_bound(found - bounds, k)
        found += bounds
        return np.flatnonzero(found >= max(surest, least))


def _coded(vectors: Vectors) -> tuple[Any, Vectors, Vectors]:
    scales = np.maximum(np.abs(vectors).max(axis=1), np.float32(1e-12)) / np.float32(127)
    codes = np.rint(vectors / scales[:, None]).astype(np.int8)
    errors = np.linalg.norm(vectors - codes * scales[:, None], axis=1)
    return codes, scales.astype(np.float32), errors.astype(np.float32)


@dataclass(frozen=True)
class VectorBlock:
    """Row numbers, ascending, (n,) and the vectors of these rows (n, size)."""

    rows: Rows
    vectors: Vectors
    codes: Int8Codes | None = None


def nearest(blocks: Iterable[VectorBlock], query: Vectors, k: int, allowed: Rows | None = None) -> Ranked:
    """Return the ``k`` rows with the highest cosine with ``query``, best first; of equals the older one.

    Args:
        query: (size,), of length 1.
        allowed: only these rows, ascending; None: all.
    """
    rows, scores = np.empty(0, np.int64), np.empty(0, np.float32)
    for block in blocks:
        least = float(scores.min()) if len(scores) == k else -np.inf
        found, score = _scores(block, query, k, least, allowed)
        rows, scores = np.concatenate([rows, found]), np.concatenate([scores, score])
        kept = top_k(scores, k)
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))
    return [(int(rows[one]), float(scores[one])) for one in order]


def _scores(block: VectorBlock, query: Vectors, k: int, least: float, allowed: Rows | None) -> tuple[Rows, Vectors]:
    """Return the scores of all rows that may be among the best ``k`` and reach ``least``."""
    if allowed is None:
        if block.codes is None or k >= len(block.rows):
            return block.rows, block.vectors @ query
        kept = block.codes.candidates(query, k, least)
        return block.rows[kept], block.vectors[kept] @ query
    kept = np.flatnonzero(within(block.rows, allowed))
    if 4 * len(kept) < len(block.rows):  # few: do not read the others' vectors
        return block.rows[kept], block.vectors[kept] @ query
    return block.rows[kept], (block.vectors @ query)[kept]


def within(rows: Rows, others: Rows) -> NDArray[np.bool_]:
    """Return a mask: the members of ``rows`` that are in ``others`` (both ascending)."""
    if not len(others):
        return np.zeros(len(rows), bool)
    places = np.searchsorted(others, rows)
    return np.asarray(others[np.minimum(places, len(others) - 1)] == rows)


class VectorCache:
    """A store's vectors in memory, up to ``memory`` bytes."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._blocks: list[VectorBlock] = []
        self._state: object = None
        self._embedder, self._uses = "", 0

    def blocks(self, connection: sqlite3.Connection, size: int, embedder: str, state: object) -> Iterable[VectorBlock]:
        """Return all vectors.

        Args:
            embedder: its name; vectors of another one are dropped.
            state: differs when the store may have changed.
        """
        if state == self._state:
            self._uses += 1
            if self._uses == _USES:
                self._blocks = [_with_codes(block) for block in self._blocks]
            return self._blocks
        self._uses = 0
        if embedder != self._embedder:
            self._blocks, self._state, self._embedder = [], None, embedder
        query = "SELECT row FROM vectors INDEXED BY vector_rows ORDER BY row"  # the index is small beside the vectors
        rows = np.fromiter((row for (row,) in connection.execute(query)), np.int64)
        if len(rows) * size * _STORED.itemsize > self._memory:
            self._blocks, self._state = [], None
            return _read(connection, size)
        last = int(self._blocks[-1].rows[-1]) if self._blocks else 0
        self._blocks = _join([*self._kept(rows), *_read(connection, size, last)])
        self._state = state
        return self._blocks

    def _kept(self, rows: Rows) -> Iterator[VectorBlock]:
        """Yield the blocks without deleted rows."""
        for block in self._blocks:
            there = within(block.rows, rows)
            if there.all():
                yield block
            elif there.any():
                yield VectorBlock(block.rows[there], block.vectors[there])


def _join(blocks: list[VectorBlock]) -> list[VectorBlock]:
    """Join neighbours that fit in one block, so that many small additions do not stay many small blocks."""
    joined: list[VectorBlock] = []
    for block in blocks:
        if joined and len(joined[-1].rows) + len(block.rows) <= BLOCK:
            last = joined.pop()
            block = VectorBlock(np.concatenate([last.rows, block.rows]), np.concatenate([last.vectors, block.vectors]))
        joined.append(block)
    return joined


def _with_codes(block: VectorBlock) -> VectorBlock:
    return block if len(block.rows) < _MANY else VectorBlock(block.rows, block.vectors, Int8Codes.of(block.vectors))


def _read(connection: sqlite3.Connection, size: int, after: int = 0) -> Iterator[VectorBlock]:
    found = connection.execute("SELECT row, vector FROM vectors WHERE row > ? ORDER BY row", (after,))
    while batch := found.fetchmany(BLOCK):
        vectors = read_vectors([vector for _, vector in batch], size)
        yield VectorBlock(np.fromiter((row for row, _ in batch), np.int64, len(batch)), vectors)


def read_vectors(stored: Sequence[object], size: int) -> Vectors:
    """Return stored vectors (N, size). Raises CorruptError: one of them has another size."""
    found = [one for one in stored if isinstance(one, bytes) and len(one) == size * _STORED.itemsize]
    if len(found) != len(stored):
        why = f"{len(stored) - len(found)} of {len(stored)} do not have {size} numbers of {_STORED.itemsize} bytes"
        fix = "put back a copy, or make them anew by another embedder (`seedbed docs embed NAME --embedder MODEL`)"
        raise CorruptError("stored vectors are damaged", why=why, fix=fix)
    return np.frombuffer(b"".join(found), _STORED).reshape(len(found), size).astype(np.float32, copy=False)


def top_k(scores: Vectors, k: int) -> NDArray[np.int64]:
    """Return the places of the ``k`` highest of (n,) scores, ascending; of equal scores the first are kept."""
    if len(scores) <= k:
        return np.arange(len(scores))
    candidates = np.flatnonzero(scores >= top_k_bound(scores, k))
    reached = scores[candidates]
    limit = np.partition(reached, len(reached) - k)[len(reached) - k]
    above = np.flatnonzero(reached > limit)
    equal = np.flatnonzero(reached == limit)[: k - len(above)]
    return np.asarray(candidates[np.sort(np.concatenate([above, equal]))])


def top_k_bound(scores: Vectors, k: int) -> float:
    """Return a number that at least ``k`` of (n,) scores reach, n >= k >= 1: the k-th highest, or a little less."""
    groups = max(_GROUPS, _GROUPS_PER_RESULT * k)
    each = len(scores) // groups
    if each > 1:  # neighbours, often alike, are in different groups; the rest that fills no group can only be higher
        scores = scores[: groups * each].reshape(each, groups).max(axis=0)
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])
