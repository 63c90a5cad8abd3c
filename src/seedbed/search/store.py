"""The store of a collection: documents, their chunks, a full-text index and vectors in one SQLite file.

Exact search by cosine, and by words with BM25. A document is replaced as a whole, in one transaction. Left out: an
approximate index; for more than some millions of vectors, ``search.servers`` has servers behind the same interface.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk, Scalar
from seedbed.documents.encoding import encoding_notes
from seedbed.search import database
from seedbed.search.bm25 import WordIndex
from seedbed.search.contracts import Filter, Hit
from seedbed.search.database import COLUMNS, Database, read_metadata, to_chunk
from seedbed.search.nearest import MEMORY, Ranked, VectorCache, nearest, read_vectors
from seedbed.vectors.lsa import Vectors, unit
from seedbed.vectors.words import stemmed, words

_CONTENT = "CASE heading WHEN '' THEN text ELSE heading || char(10) || text END"
_LACKING = "FROM chunks LEFT JOIN {0} ON {0}.row = chunks.row WHERE {0}.row IS NULL"
_PENDING = _LACKING.format("vectors")
_BATCH = 128  # chunks embedded between two writes: what a killed process has to do again
Embed = Callable[[Sequence[str]], Vectors]
"""A function from contents of chunks (their headings, then their texts) to vectors."""


@dataclass(frozen=True)
class Entry:
    """A document to store."""

    source: str
    chunks: Sequence[Chunk]
    title: str = ""


@dataclass(frozen=True)
class Stored:
    """A stored document.

    Attributes:
        origin: the file or address it was read from, which may hold several documents.
        sha256: of the origin's bytes; tells whether it has changed.
        added: ``time.time()`` when it was stored.
        decoded: how it was decoded, as its metadata tell; empty for clean UTF-8.
    """

    source: str
    origin: str
    sha256: str
    title: str
    added: float
    chunks: int
    decoded: Mapping[str, Scalar] = field(default_factory=dict)


class Store:
    """A :class:`~seedbed.search.contracts.VectorStore` that also searches by words and knows documents.

    Threads may share one. Processes open the same file: all may read while one writes.

    Args:
        path: of the file, made when there is none; ``":memory:"`` is not saved.
        memory: bytes of vectors to hold in memory; with more vectors than that, each search reads the file.

    Raises CorruptError: the file is damaged, or is not a store.
    """

    def __init__(self, path: Path | str = ":memory:", memory: int = MEMORY) -> None:
        self._database = Database(path)
        self._cache, self._words = VectorCache(memory), WordIndex()
        self._writes = 0
        self._covered: tuple[tuple[int, int], float] | None = None

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Store chunks that belong to no document; one with a stored id replaces it. Returns their ids.

        Raises:
            UsageError: the vectors have another size than the stored ones.
            DataError: there is not one vector for each chunk, or some numbers are not finite.
        """
        with self.transaction() as connection:
            database.delete(connection, [chunk.id for chunk in chunks])
            database.insert(connection, chunks, vectors)
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        """Delete chunks. Returns how many there were."""
        with self.transaction() as connection:
            return database.delete(connection, ids)

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Return the chunks with these ids, in the order of ``ids``; unknown ids are left out."""
        query = f"SELECT id, {COLUMNS} FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
        found = {row[0]: to_chunk(row[1:]) for row in self._all(query, json.dumps(list(ids)))}
        return [found[one] for one in ids if one in found]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """Return the ``k`` chunks nearest to a vector (by cosine), best first."""
        return self.hits(self.nearest(vector, k, where))

    def nearest(self, vector: Vectors, k: int, where: Filter | None = None) -> Ranked:
        """Return rows and scores as :meth:`search`, without reading the chunks."""
        query = unit(np.asarray(vector, np.float32).reshape(-1))
        with self._database.reading() as connection:
            embedder, size = database.embedder_of(connection)
            if k <= 0 or not size:
                return []
            database.check_size(size, query.shape[-1])
            allowed = database.filtered_rows(connection, where)
            return nearest(self._cache.blocks(connection, size, embedder, self._state()), query, k, allowed)

    def matching(self, query: str, k: int, where: Filter | None = None) -> Ranked:
        """Rank the ``k`` chunks with the highest BM25 for a query, best first; each has one of its words.

        A word that the query repeats counts as often.
        """
        stems = stemmed(words(query))
        with self._database.reading() as connection:
            if k <= 0 or not stems:
                return []
            allowed = database.filtered_rows(connection, where)
            return self._words.search(connection, stems, k, allowed, self._state())

    def hits(self, ranked: Ranked) -> list[Hit]:
        """Return the chunks of rows, in order; rows deleted meanwhile are left out."""
        query = f"SELECT {COLUMNS} FROM chunks WHERE row IN (SELECT value FROM json_each(?))"
        found = {row[0]: to_chunk(row) for row in self._all(query, json.dumps([row for row, _ in ranked]))}
        return [Hit(found[row], score) for row, score in ranked if row in found]

    def rows(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the row numbers of those ids that are stored."""
        query = "SELECT id, row FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
        return dict(self._all(query, json.dumps(list(ids))))

    def vectors_of(self, rows: Sequence[int]) -> dict[int, Vectors]:
        """Return the vectors (size,) of those rows that have one."""
        query = "SELECT row, vector FROM vectors WHERE row IN (SELECT value FROM json_each(?))"
        found = self._all(query, json.dumps(list(rows)))
        vectors = read_vectors([vector for _, vector in found], self.embedder[1])
        return {row: vector for (row, _), vector in zip(found, vectors, strict=True)}

    def count(self) -> int:
        """Count the chunks."""
        return self._number("SELECT count(*) FROM chunks")

    def is_there(self) -> bool:
        """Tell whether the file that is open is still the one at its path."""
        return self._database.is_there()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def put(self, origin: str, sha256: str, entries: Iterable[Entry]) -> int:
        """Store an origin's documents in place of its old ones: all of them, or on an error none.

        Their chunks have no vectors until :meth:`complete`. Returns how many documents there are.
        """
        with self.transaction() as connection:
            self.drop([origin])
            count = 0
            for entry in entries:
                connection.execute("DELETE FROM chunks WHERE source = ?", (entry.source,))  # another origin's
                database.insert(connection, entry.chunks, None)
                row = (entry.source, origin, sha256, entry.title, time.time())
                connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", row)
                count += 1
            return count

    def drop(self, origins: Sequence[str]) -> int:
        """Delete the documents read from origins. Returns how many there were."""
        names = [(origin,) for origin in origins]
        query = "DELETE FROM chunks WHERE source IN (SELECT source FROM documents WHERE origin = ?)"
        with self.transaction() as connection:
            connection.executemany(query, names)
            return connection.executemany("DELETE FROM documents WHERE origin = ?", names).rowcount

    def origins(self) -> dict[str, str]:
        """Return the SHA-256 of each origin."""
        return dict(self._all("SELECT DISTINCT origin, sha256 FROM documents"))

    def documents(self) -> list[Stored]:
        """Return all documents, by source."""
        query = """SELECT source, origin, sha256, title, added,
            (SELECT count(*) FROM chunks WHERE chunks.source = documents.source),
            (SELECT metadata FROM chunks WHERE chunks.source = documents.source LIMIT 1)
            FROM documents ORDER BY source"""
        return [_stored(*row) for row in self._all(query)]

    def chunks_of(self, source: str) -> list[Chunk]:
        """Return a document's chunks, in its order."""
        query = f"SELECT {COLUMNS} FROM chunks WHERE source = ? ORDER BY start, row"
        return [to_chunk(row) for row in self._all(query, source)]

    @property
    def embedder(self) -> tuple[str, int]:
        """The name of the embedder that made the vectors, and their size; ("", 0) while there is none."""
        with self._database.reading() as connection:
            return database.embedder_of(connection)

    @property
    def learnt(self) -> bytes | None:
        """The data that the embedder learned from the texts, as :meth:`remake` was given it."""
        with self._database.reading() as connection:
            found: bytes | None = database.setting(connection, "learnt")
            return found

    def bind(self, name: str, size: int) -> None:
        """Take an embedder's vectors from now on. Raises UsageError: vectors of another one are stored."""
        if self.embedder == (name, size):
            return
        with self.transaction() as connection:
            known, known_size = database.embedder_of(connection)
            if known_size and (known, known_size) != (name, size):
                why = f"they were made by {known or 'an unnamed embedder'}, {known_size} numbers each"
                fix = "use that embedder, or make a new collection with this one"
                raise UsageError(f"the vectors were not made by {name}", why=why, fix=fix)
            database.set_embedder(connection, name, size)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Apply all changes of the block, or none; other writers wait."""
        with self._database.writing() as connection:
            self._writes += 1
            yield connection

    def pending(self) -> int:
        """Count the chunks that have no vector yet."""
        return self._number(f"SELECT count(*) {_PENDING}")

    def covered(self) -> float:
        """Return the share of the chunks that have a vector, 0 without chunks; counted anew after each change."""
        state = self._state()
        if self._covered is None or self._covered[0] != state:
            count = self.count()
            self._covered = state, (count - self.pending()) / count if count else 0.0
        return self._covered[1]

    def last_row(self) -> int:
        """Return the number of the newest chunk; 0 while there is none."""
        return self._number("SELECT COALESCE(max(row), 0) FROM chunks")

    def new_since(self, row: int) -> int:
        """Count the chunks that came after a row."""
        return self._number("SELECT count(*) FROM vectors INDEXED BY vector_rows WHERE row > ?", row) + self.pending()

    def sample(self, most: int) -> list[str]:
        """Return the contents of at most ``most`` chunks, evenly spaced over all of them."""
        step = max(1, -(-self.count() // most))
        query = f"SELECT {_CONTENT} FROM chunks WHERE row % ? = 0 ORDER BY row LIMIT ?"
        return [text for (text,) in self._all(query, step, most)]

    def complete(self, embed: Embed) -> Iterator[int]:
        """Give a vector to every chunk that has none; yields how many, batch after batch.

        A batch is embedded outside of a transaction, unless the caller has begun one (:meth:`transaction`).

        Raises UsageError: the store was given another embedder meanwhile.
        """
        begun = self.embedder[0]
        query = f"SELECT chunks.row, {_CONTENT} {_PENDING} AND chunks.row > ? ORDER BY chunks.row LIMIT {_BATCH}"
        last = 0
        while batch := self._all(query, last):
            vectors = embed([text for _, text in batch])
            with self.transaction() as connection:
                if (now := database.embedder_of(connection)[0]) != begun:
                    why = f"{begun or 'an unnamed embedder'} was at work, the vectors are now of {now or 'none'}"
                    raise UsageError("the embedder was changed meanwhile", why=why, fix="nothing: the new one goes on")
                database.write_vectors(connection, [row for row, _ in batch], vectors)
            last = batch[-1][0]
            yield len(batch)

    def stage(self, name: str, size: int, embed: Embed) -> Iterator[int]:
        """Make another embedder's vectors of all chunks, and take them when there are all; yields how many were made.

        Until then the others stay, and what was made is kept for the next call with the same ``name``.
        """
        with self.transaction() as connection:
            database.stage(connection, name)
        query = f"SELECT chunks.row, {_CONTENT} {_LACKING.format('staged')} ORDER BY chunks.row LIMIT {_BATCH}"
        while True:
            with self.transaction() as connection:  # nobody adds a chunk between the last look and the change
                if not (batch := connection.execute(query).fetchall()):
                    database.adopt_staged(connection, size)
                    return
            vectors = embed([text for _, text in batch])
            with self.transaction() as connection:
                database.write_staged(connection, [row for row, _ in batch], vectors)
            yield len(batch)

    def staged(self) -> int:
        """Count the vectors that :meth:`stage` has made so far."""
        with self._database.reading() as connection:
            begun = database.setting(connection, "staged")
        return self._number("SELECT count(*) FROM staged") if begun else 0

    def unbind(self) -> None:
        """Delete all vectors, and forget their embedder."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM vectors")
            connection.execute("DELETE FROM settings WHERE key IN ('embedder', 'size', 'learnt')")

    def remake(self, name: str, size: int, learnt: bytes) -> None:
        """Delete all vectors, take another embedder's from now on, and store what it has learned."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM vectors")
            connection.execute("DELETE FROM mirrored WHERE id IN (SELECT id FROM chunks)")  # the server forgets others
            database.set_embedder(connection, name, size)
            connection.execute("INSERT OR REPLACE INTO settings VALUES ('learnt', ?)", (learnt,))

    def unsynced(self, most: int) -> tuple[list[Chunk], Vectors, list[str]]:
        """Return what a server has to be told: chunks it lacks, their vectors, and ids to delete; ``most`` of each."""
        lacking = f"""SELECT {COLUMNS}, vector FROM chunks JOIN vectors USING (row)
            WHERE id NOT IN (SELECT id FROM mirrored) LIMIT ?"""
        stale = "SELECT id FROM mirrored WHERE id NOT IN (SELECT id FROM chunks JOIN vectors USING (row)) LIMIT ?"
        with self._database.reading() as connection:
            found = connection.execute(lacking, (most,)).fetchall()
            gone = [one for (one,) in connection.execute(stale, (most,))]
            size = database.embedder_of(connection)[1]
        return [to_chunk(row[:-1]) for row in found], read_vectors([row[-1] for row in found], size), gone

    def mark_synced(self, ids: Sequence[str], gone: Sequence[str]) -> None:
        """Record that a server has stored ``ids`` and deleted ``gone``."""
        with self.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO mirrored VALUES (?)", ((one,) for one in ids))
            connection.executemany("DELETE FROM mirrored WHERE id = ?", ((one,) for one in gone))

    def _number(self, query: str, *values: int) -> int:
        return int(self._all(query, *values)[0][0])

    def _all(self, query: str, *values: str | int) -> list[Any]:
        with self._database.reading() as connection:
            return connection.execute(query, values).fetchall()

    def _state(self) -> tuple[int, int]:
        return self._database.version(), self._writes


def _stored(
    source: str, origin: str, sha256: str, title: str, added: float, chunks: int, metadata: str | None
) -> Stored:
    """Return a document of its row, with the metadata of one of its chunks."""
    return Stored(source, origin, sha256, title, added, chunks, encoding_notes(read_metadata(source, metadata)))
