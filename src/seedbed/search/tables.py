"""What a store reads from and writes into its tables, on a connection in a transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np

from seedbed.core.errors import DataError, UsageError
from seedbed.documents.document import Chunk
from seedbed.search.contracts import Filter
from seedbed.search.filters import to_sql
from seedbed.search.nearest import Rows
from seedbed.vectors.arrays import Vectors, unit

COLUMNS = "chunks.row, source, start, end, text, page, heading, metadata"
"""What :func:`to_chunk` takes."""
_INSERT = """INSERT INTO chunks (id, source, start, end, page, heading, metadata, text)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""


def to_chunk(row: Sequence[Any]) -> Chunk:
    """A row of :data:`COLUMNS` as a chunk."""
    _, source, start, end, text, page, heading, metadata = row
    return Chunk(source, start, end, text, page, heading, json.loads(metadata))


def delete(connection: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Forget chunks. Returns how many there were."""
    query = "DELETE FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
    return connection.execute(query, (json.dumps(list(ids)),)).rowcount


def insert(connection: sqlite3.Connection, chunks: Sequence[Chunk], vectors: Vectors | None) -> None:
    """Keep chunks, and their vectors when they are given."""
    last = {chunk.id: place for place, chunk in enumerate(chunks)}  # one that comes twice is kept once
    rows: list[int] = []
    for identity, place in last.items():
        one = chunks[place]
        row = (identity, one.source, one.start, one.end, one.page, one.heading, _metadata(one), one.text)
        rows.append(connection.execute(_INSERT, row).lastrowid or 0)
    if vectors is not None:
        if len(vectors) != len(chunks):
            what = f"{len(vectors)} vectors for {len(chunks)} chunks"
            raise DataError(what, why="each chunk needs one", fix="give as many")
        write_vectors(connection, rows, np.asarray(vectors)[list(last.values())])


def write_vectors(connection: sqlite3.Connection, rows: Sequence[int], vectors: Vectors) -> None:
    """Keep the vectors of rows that have none; the first ones say how many numbers a vector has.

    Rows that went meanwhile are left out.
    """
    if not len(rows):
        return
    found = np.asarray(vectors, np.float32)
    if found.ndim != 2 or len(found) != len(rows) or not np.isfinite(found).all():
        why = f"their shape is {found.shape} for {len(rows)} chunks, or some numbers are not finite"
        raise DataError("these are no vectors", why=why, fix="check the embedder")
    name, size = maker(connection)
    if not size:
        bind(connection, name, found.shape[1])
    else:
        check_size(size, found.shape[1])
    query = "INSERT OR IGNORE INTO vectors SELECT row, ? FROM chunks WHERE row = ?"
    connection.executemany(
        query, ((vector.tobytes(), row) for row, vector in zip(rows, unit(found).astype("<f4"), strict=True))
    )


def _metadata(chunk: Chunk) -> str:
    try:
        return json.dumps(dict(chunk.metadata), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        why = f"{chunk.source}: {error}"
        raise DataError("metadata cannot be stored", why=why, fix="give texts, numbers, true or false") from error


def allowed(connection: sqlite3.Connection, where: Filter) -> Rows:
    """The rows that fulfil a filter, ascending."""
    condition, parameters = to_sql(where)
    found = connection.execute(f"SELECT row FROM chunks WHERE {condition} ORDER BY row", parameters)
    return np.fromiter((row for (row,) in found), np.int64)


def setting(connection: sqlite3.Connection, key: str) -> Any:
    """A value of the table of settings, or None."""
    found = connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
    return found[0] if found else None


def maker(connection: sqlite3.Connection) -> tuple[str, int]:
    """The name of the embedder and the size of its vectors; ("", 0) while there is none."""
    return str(setting(connection, "embedder") or ""), int(setting(connection, "size") or 0)


def bind(connection: sqlite3.Connection, name: str, size: int) -> None:
    """Say which embedder makes the vectors."""
    pairs = [("embedder", name), ("size", size)]
    connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", pairs)


def check_size(size: int, found: int) -> None:
    """Raise UsageError where a vector does not have the numbers that the others have."""
    if size != found:
        why = f"the store's vectors have {size} numbers, this one has {found}"
        raise UsageError(
            "a vector of another embedder", why=why, fix="use the embedder that the collection was made with"
        )
