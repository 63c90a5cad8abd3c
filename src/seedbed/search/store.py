"""The store of a collection: documents, their chunks, a full-text index and vectors in one SQLite file.

Exact search by cosine, and by words with BM25. A document is replaced as a whole, in one transaction. What it leaves
out: an approximate index; beyond some millions of vectors, ``rag.stores`` has servers behind the same face.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search import tables
from seedbed.search.bm25 import WordIndex
from seedbed.search.contracts import Filter, Hit
from seedbed.search.database import Database
from seedbed.search.nearest import MEMORY, Cache, Ranked, nearest
from seedbed.vectors.arrays import Vectors, unit
from seedbed.vectors.words import Stemmer, words

_stemmer = Stemmer()
_CONTENT = "CASE heading WHEN '' THEN text ELSE heading || char(10) || text END"
_PENDING = "FROM chunks LEFT JOIN vectors ON vectors.row = chunks.row WHERE vectors.row IS NULL"
_BATCH = 1024
Embed = Callable[[Sequence[str]], Vectors]
"""Contents of chunks (their headings, then their texts) to vectors."""


@dataclass(frozen=True)
class Entry:
    """A document as it is to be kept."""

    source: str
    chunks: Sequence[Chunk]
    title: str = ""


@dataclass(frozen=True)
class Stored:
    """A document that is kept.

    Attributes:
        origin: the file or address it was read from, which may hold several documents.
        sha256: of the origin's bytes; says whether it has changed.
        added: ``time.time()`` when it was.
    """

    source: str
    origin: str
    sha256: str
    title: str
    added: float
    chunks: int


class Store:
    """A :class:`~seedbed.search.contracts.VectorStore` that also searches by words and knows documents.

    Threads may share one. Processes open the same file: all may read while one writes.

    Args:
        path: of the file, made when there is none; ``":memory:"`` is kept nowhere.
        memory: bytes of vectors to keep in memory; with more vectors than that, each search reads the file.

    Raises:
        CorruptError: the file is damaged, or something else.
    """

    def __init__(self, path: Path | str = ":memory:", memory: int = MEMORY) -> None:
        self._database = Database(path)
        self._cache, self._words = Cache(memory), WordIndex()
        self._writes = 0
        self._count: tuple[object, int] = (None, 0)

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Keep chunks, without a document around them; one that is there already is replaced. Returns their ids.

        Raises:
            UsageError: vectors of another size than those that are there.
            DataError: not a vector for each chunk, or numbers that are not finite.
        """
        with self._writing() as connection:
            tables.delete(connection, [chunk.id for chunk in chunks])
            tables.insert(connection, chunks, vectors)
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        """Forget chunks. Returns how many there were."""
        with self._writing() as connection:
            return tables.delete(connection, ids)

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Those of these ids that are there, in the order of ``ids``."""
        query = f"SELECT id, {tables.COLUMNS} FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
        with self._database.reading() as connection:
            found = {row[0]: tables.to_chunk(row[1:]) for row in connection.execute(query, (json.dumps(list(ids)),))}
        return [found[one] for one in ids if one in found]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks nearest to a vector (by cosine), best first."""
        return self.hits(self.nearest(vector, k, where))

    def search_words(self, query: str, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks with the highest BM25 for the words of a query, best first; each has one of them."""
        return self.hits(self.matching(query, k, where))

    def nearest(self, vector: Vectors, k: int, where: Filter | None = None) -> Ranked:
        """As :meth:`search`, without reading the chunks."""
        query = unit(np.asarray(vector, np.float32).reshape(-1))
        with self._database.reading() as connection:
            maker, size = tables.maker(connection)
            if k <= 0 or not size:
                return []
            tables.check_size(size, query.shape[-1])
            allowed = tables.allowed(connection, where) if where else None
            return nearest(self._cache.blocks(connection, size, maker, self._state()), query, k, allowed)

    def matching(self, query: str, k: int, where: Filter | None = None) -> Ranked:
        """As :meth:`search_words`, without reading the chunks."""
        different = list(dict.fromkeys(words(query)))
        stems = _stemmer.stems(different)
        with self._database.reading() as connection:
            if k <= 0 or not stems:
                return []
            allowed = tables.allowed(connection, where) if where else None
            return self._words.search(connection, [stems[word] for word in different], k, allowed, self._state())

    def hits(self, ranked: Ranked) -> list[Hit]:
        """The chunks of rows, in their order; those that went meanwhile are left out."""
        query = f"SELECT {tables.COLUMNS} FROM chunks WHERE row IN (SELECT value FROM json_each(?))"
        with self._database.reading() as connection:
            rows = json.dumps([row for row, _ in ranked])
            found = {row[0]: tables.to_chunk(row) for row in connection.execute(query, (rows,))}
        return [Hit(found[row], score) for row, score in ranked if row in found]

    def rows(self, ids: Sequence[str]) -> dict[str, int]:
        """The row numbers of those ids that are there."""
        query = "SELECT id, row FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
        with self._database.reading() as connection:
            return dict(connection.execute(query, (json.dumps(list(ids)),)).fetchall())

    def vectors_of(self, rows: Sequence[int]) -> dict[int, Vectors]:
        """The vectors (size,) of those rows that have one."""
        query = "SELECT row, vector FROM vectors WHERE row IN (SELECT value FROM json_each(?))"
        with self._database.reading() as connection:
            found = connection.execute(query, (json.dumps(list(rows)),)).fetchall()
        return {row: np.frombuffer(vector, "<f4").astype(np.float32) for row, vector in found}

    def count(self) -> int:
        """How many chunks there are."""
        with self._database.reading() as connection:
            return self._counted(connection)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def verify(self) -> None:
        """Read the whole file. Raises CorruptError where it is damaged."""
        self._database.verify()

    def put(self, origin: str, sha256: str, entries: Iterable[Entry]) -> int:
        """Keep an origin's documents in place of those it had: all of them, or on an error the old ones.

        Their chunks have no vectors until :meth:`complete`. Returns how many documents there are.
        """
        with self._writing() as connection:
            self._forget(connection, [origin])
            count = 0
            for entry in entries:
                connection.execute("DELETE FROM chunks WHERE source = ?", (entry.source,))  # another origin's
                tables.insert(connection, entry.chunks, None)
                row = (entry.source, origin, sha256, entry.title, time.time())
                connection.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?)", row)
                count += 1
            return count

    def drop(self, origins: Sequence[str]) -> int:
        """Forget what was read from origins. Returns how many documents that were."""
        with self._writing() as connection:
            return self._forget(connection, origins)

    def _forget(self, connection: sqlite3.Connection, origins: Sequence[str]) -> int:
        names = [(origin,) for origin in origins]
        query = "DELETE FROM chunks WHERE source IN (SELECT source FROM documents WHERE origin = ?)"
        connection.executemany(query, names)
        return connection.executemany("DELETE FROM documents WHERE origin = ?", names).rowcount

    def origins(self) -> dict[str, str]:
        """The SHA-256 of each origin."""
        with self._database.reading() as connection:
            return dict(connection.execute("SELECT DISTINCT origin, sha256 FROM documents").fetchall())

    def documents(self) -> list[Stored]:
        """All documents, by source."""
        query = """SELECT source, origin, sha256, title, added,
            (SELECT count(*) FROM chunks WHERE chunks.source = documents.source) FROM documents ORDER BY source"""
        with self._database.reading() as connection:
            return [Stored(*row) for row in connection.execute(query)]

    def chunks_of(self, source: str) -> list[Chunk]:
        """A document's chunks, in its order."""
        query = f"SELECT {tables.COLUMNS} FROM chunks WHERE source = ? ORDER BY start, row"
        with self._database.reading() as connection:
            return [tables.to_chunk(row) for row in connection.execute(query, (source,))]

    @property
    def maker(self) -> str:
        """The name of the embedder that made the vectors; empty while there is none."""
        with self._database.reading() as connection:
            return tables.maker(connection)[0]

    @property
    def size(self) -> int:
        """Numbers in a vector; 0 while there is none."""
        with self._database.reading() as connection:
            return tables.maker(connection)[1]

    @property
    def learnt(self) -> bytes | None:
        """What the embedder has learnt from the texts, as :meth:`remake` was told."""
        with self._database.reading() as connection:
            found: bytes | None = tables.setting(connection, "learnt")
            return found

    def bind(self, name: str, size: int) -> None:
        """Take an embedder's vectors from now on.

        Raises:
            UsageError: vectors of another one are there.
        """
        with self._database.reading() as connection:
            there = tables.maker(connection)
        if there == (name, size):
            return
        with self._writing() as connection:
            there = tables.maker(connection)
            if there[1] and there != (name, size):
                raise UsageError(
                    f"the vectors were not made by {name}",
                    why=f"they were made by {there[0] or 'an unnamed embedder'}, {there[1]} numbers each",
                    fix="use that embedder, or make a new collection with this one",
                )
            tables.bind(connection, name, size)

    def transaction(self) -> AbstractContextManager[object]:
        """What the block does to the store is done as a whole or not at all; other writers wait."""
        return self._writing()

    def pending(self) -> int:
        """How many chunks have no vector yet."""
        with self._database.reading() as connection:
            return int(connection.execute(f"SELECT count(*) {_PENDING}").fetchone()[0])

    def last_row(self) -> int:
        """The number of the newest chunk; 0 while there is none."""
        with self._database.reading() as connection:
            return int(connection.execute("SELECT COALESCE(max(row), 0) FROM chunks").fetchone()[0])

    def new_since(self, row: int) -> int:
        """How many chunks have come after a row."""
        query = "SELECT count(*) FROM vectors INDEXED BY vector_rows WHERE row > ?"
        with self._database.reading() as connection:
            return int(connection.execute(query, (row,)).fetchone()[0]) + self.pending()

    def sample(self, most: int) -> list[str]:
        """The contents of at most ``most`` chunks, evenly from all of them."""
        with self._database.reading() as connection:
            step = max(1, -(-self._counted(connection) // most))
            query = f"SELECT {_CONTENT} FROM chunks WHERE row % ? = 0 ORDER BY row LIMIT ?"
            return [text for (text,) in connection.execute(query, (step, most))]

    def complete(self, embed: Embed) -> Iterator[int]:
        """Give a vector to every chunk that has none; yields how many, batch after batch.

        A batch is embedded outside of a transaction, unless all of it is in one (:meth:`transaction`).
        """
        query = f"SELECT chunks.row, {_CONTENT} {_PENDING} AND chunks.row > ? ORDER BY chunks.row LIMIT {_BATCH}"
        last = 0
        while True:
            with self._database.reading() as connection:
                batch = connection.execute(query, (last,)).fetchall()
            if not batch:
                return
            vectors = embed([text for _, text in batch])
            with self._writing() as connection:
                tables.write_vectors(connection, [row for row, _ in batch], vectors)
            last = batch[-1][0]
            yield len(batch)

    def remake(self, name: str, size: int, learnt: bytes) -> None:
        """Forget all vectors, take those of another embedder from now on, and keep what it has learnt."""
        with self._writing() as connection:
            connection.execute("DELETE FROM vectors")
            connection.execute("DELETE FROM mirrored")
            tables.bind(connection, name, size)
            connection.execute("INSERT OR REPLACE INTO settings VALUES ('learnt', ?)", (learnt,))

    def unmirrored(self, most: int) -> tuple[list[Chunk], Vectors, list[str]]:
        """For a server that has the vectors too: chunks it lacks, their vectors, and ids it has to forget; some of
        each, none when it is up to date."""
        lacking = f"""SELECT {tables.COLUMNS}, vector FROM chunks JOIN vectors USING (row)
            WHERE id NOT IN (SELECT id FROM mirrored) LIMIT ?"""
        stale = "SELECT id FROM mirrored WHERE id NOT IN (SELECT id FROM chunks JOIN vectors USING (row)) LIMIT ?"
        with self._database.reading() as connection:
            found = connection.execute(lacking, (most,)).fetchall()
            gone = [one for (one,) in connection.execute(stale, (most,))]
        vectors = [np.frombuffer(row[-1], "<f4") for row in found]
        return [tables.to_chunk(row[:-1]) for row in found], np.array(vectors, np.float32), gone

    def mirrored(self, ids: Sequence[str], gone: Sequence[str]) -> None:
        """A server has these now, and those no longer."""
        with self._writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO mirrored VALUES (?)", ((one,) for one in ids))
            connection.executemany("DELETE FROM mirrored WHERE id = ?", ((one,) for one in gone))

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._database.writing() as connection:
            self._writes += 1
            yield connection

    def _state(self) -> tuple[int, int]:
        return self._database.version(), self._writes

    def _counted(self, connection: sqlite3.Connection) -> int:
        if self._count[0] != self._state():
            self._count = self._state(), int(connection.execute("SELECT count(*) FROM chunks").fetchone()[0])
        return self._count[1]
