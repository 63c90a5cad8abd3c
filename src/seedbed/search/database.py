"""The SQLite file of a store: its tables, their rows as chunks and vectors, its making and its checks.

FTS5 is given the words of a text where it would see others than ``vectors.words`` does; they are kept beside the text
(``text_words``, ``heading_words``), so that the index can be taken back word by word, and built anew.

A row of ``chunks`` is never changed, only deleted and inserted again under a number that no row had before: what is
remembered about a row stays true as long as the row is there. Triggers keep the full-text index and the vectors in step
with the chunks. The functions work on a connection in a transaction.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.core.errors import CorruptError, DataError, UsageError, newer_form
from seedbed.core.files import scratch_directory, sync_directory
from seedbed.core.sqlite import Connection, must_be_upgraded
from seedbed.documents.document import Chunk, Scalar
from seedbed.search.contracts import Filter
from seedbed.search.filters import to_sql
from seedbed.search.nearest import Rows
from seedbed.search.upgrade import upgrade, words_beside
from seedbed.vectors.lsa import Vectors, unit
from seedbed.vectors.words import TOKENIZER

MARK = 0x5EEDBED
"""The application id in the file's header: the file is one of our stores."""
VERSION = 2
_PAGE = 16_384  # ten vectors of 384 numbers; the usual 4,096 would hold two
_REPAIR = "put back a copy, or remove the collection and add its documents again"
_INDEX = f"""
CREATE VIEW seen AS SELECT row, coalesce(text_words, text) AS text, coalesce(heading_words, heading) AS heading
    FROM chunks;
CREATE VIRTUAL TABLE words USING fts5(text, heading, content='seen', content_rowid='row', tokenize="{TOKENIZER}");
CREATE TRIGGER added AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, text, heading)
        VALUES (new.row, coalesce(new.text_words, new.text), coalesce(new.heading_words, new.heading));
END;
CREATE TRIGGER deleted AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, text, heading) VALUES ('delete', old.row,
        coalesce(old.text_words, old.text), coalesce(old.heading_words, old.heading));
    DELETE FROM vectors WHERE row = old.row;
END;
PRAGMA user_version = {VERSION};
"""
_SCHEMA = f"""
CREATE TABLE settings (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE documents (
    source TEXT PRIMARY KEY, origin TEXT NOT NULL, sha256 TEXT NOT NULL, title TEXT NOT NULL, added REAL NOT NULL)
    WITHOUT ROWID;
CREATE INDEX documents_from ON documents (origin);
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, page INTEGER, heading TEXT NOT NULL,
    metadata TEXT NOT NULL, text TEXT NOT NULL, text_words TEXT, heading_words TEXT);
CREATE INDEX chunks_of ON chunks (source, start);
CREATE TABLE mirrored (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE vectors (row INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE INDEX vector_rows ON vectors (row);
PRAGMA application_id = {MARK};
{_INDEX}"""
COLUMNS = "chunks.row, source, start, end, text, page, heading, metadata"
"""The columns that :func:`to_chunk` takes."""
_INSERT = """INSERT INTO chunks (id, source, start, end, page, heading, metadata, text, text_words, heading_words)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


class Database(Connection):
    """The file at a path, made when there is none; ``":memory:"`` is not saved.

    Raises CorruptError: the file is damaged, or is no store. NewerError: a newer version wrote it.
    """

    def __init__(self, path: Path | str) -> None:
        if str(path) != ":memory:" and not Path(path).exists():
            self._create(Path(path))
        super().__init__(path, _REPAIR)
        self._opened = self._file()
        try:
            with self.errors():
                self._prepare()
        except BaseException:
            self.close()
            raise

    def is_there(self) -> bool:
        """Tell whether the file that is open is still the one at its path."""
        return self._file() == self._opened

    def _file(self) -> int | None:
        """Return the number of the file at the path; None without one."""
        with suppress(OSError):
            return Path(self.path).stat().st_ino
        return None

    def version(self) -> int:
        """Return a number that changes when another connection has written."""
        with self._lock, self.errors():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA synchronous = NORMAL")  # with the log: a power cut may lose the last ones, never half
        run("PRAGMA cache_size = -65536")
        if str(self.path) == ":memory:":
            self._connection.executescript(_SCHEMA)
        if run("PRAGMA application_id").fetchone()[0] != MARK:
            raise self.damaged("it is an SQLite file, but not one of seedbed's stores")
        version = run("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise newer_form(f"the store {self.path}", version, VERSION)
        if version < VERSION and self.read_only:
            raise must_be_upgraded(self.path, version, VERSION)
        if version < VERSION:
            upgrade(self._connection, self.path, _INDEX)
        for name, kind in (("instances", "instance"), ("totals", "row")):
            run(f"CREATE VIRTUAL TABLE temp.{name} USING fts5vocab(main, words, '{kind}')")

    @staticmethod
    def _create(path: Path) -> None:
        """Make an empty store under another name, then link it to its own; the first of two processes wins."""
        with scratch_directory(path) as folder:
            draft = folder / path.name
            with Connection(draft, _REPAIR) as made:
                made.run(f"PRAGMA page_size = {_PAGE}; PRAGMA journal_mode = WAL; {_SCHEMA}")
            with suppress(FileExistsError):
                os.link(draft, path)
        sync_directory(path.parent)


def to_chunk(row: Sequence[Any]) -> Chunk:
    """Return a row of :data:`COLUMNS` as a chunk."""
    _, source, start, end, text, page, heading, metadata = row
    return Chunk(source, start, end, text, page, heading, read_metadata(source, metadata))


def read_metadata(source: str, stored: str | None) -> dict[str, Scalar]:
    """Return the metadata of a chunk. Raises CorruptError: they are no JSON object."""
    try:
        found = json.loads(stored or "{}")
        if isinstance(found, dict):
            return found
        why = f"they are a {type(found).__name__}, not an object"
    except (ValueError, TypeError, RecursionError) as error:
        why = str(error)
    raise CorruptError(f"the metadata of {source} are damaged", why=why, fix=_REPAIR)


def delete(connection: sqlite3.Connection, ids: Sequence[str]) -> int:
    """Delete chunks. Returns how many there were."""
    query = "DELETE FROM chunks WHERE id IN (SELECT value FROM json_each(?))"
    return connection.execute(query, (json.dumps(list(ids)),)).rowcount


def insert(connection: sqlite3.Connection, chunks: Sequence[Chunk], vectors: Vectors | None) -> None:
    """Insert chunks, and their vectors where given; of chunks with one id the last is kept."""
    if vectors is not None and len(vectors) != len(chunks):
        what = f"{len(vectors)} vectors for {len(chunks)} chunks"
        raise DataError(what, why="each chunk needs one", fix="give as many vectors as chunks")
    last = {chunk.id: place for place, chunk in enumerate(chunks)}
    rows: list[int] = []
    for identity, place in last.items():
        one = chunks[place]
        place_of = (identity, one.source, one.start, one.end, one.page, one.heading)
        row = (*place_of, _metadata(one), one.text, words_beside(one.text), words_beside(one.heading))
        rows.append(connection.execute(_INSERT, row).lastrowid or 0)
    if vectors is not None:
        write_vectors(connection, rows, np.asarray(vectors)[list(last.values())])


def write_vectors(connection: sqlite3.Connection, rows: Sequence[int], vectors: Vectors) -> None:
    """Store the vectors of rows that have none; the first ones set the size of all. Deleted rows are left out."""
    if not len(rows):
        return
    found = _checked(rows, vectors)
    name, size = embedder_of(connection)
    if size:
        check_size(size, found.shape[1])
    else:
        set_embedder(connection, name, found.shape[1])
    _put(connection, "vectors", rows, found)


def stage(connection: sqlite3.Connection, name: str) -> None:
    """Begin a table for the vectors of an embedder, beside those there are; one of the same embedder is kept."""
    if setting(connection, "staged") != name:
        connection.execute("DROP TABLE IF EXISTS staged")
        connection.execute("CREATE TABLE staged (row INTEGER PRIMARY KEY, vector BLOB NOT NULL)")
        connection.execute("INSERT OR REPLACE INTO settings VALUES ('staged', ?)", (name,))


def write_staged(connection: sqlite3.Connection, rows: Sequence[int], vectors: Vectors) -> None:
    """Store vectors of rows in the table that :func:`stage` began."""
    _put(connection, "staged", rows, _checked(rows, vectors))


def adopt_staged(connection: sqlite3.Connection, size: int) -> None:
    """Put the staged vectors, of that size, in the place of all others."""
    name = str(setting(connection, "staged"))
    connection.execute("DELETE FROM vectors")
    connection.execute("INSERT INTO vectors SELECT row, vector FROM staged WHERE row IN (SELECT row FROM chunks)")
    connection.execute("DROP TABLE staged")
    connection.execute("DELETE FROM settings WHERE key IN ('staged', 'learnt')")
    set_embedder(connection, name, size)


def _checked(rows: Sequence[int], vectors: Vectors) -> Vectors:
    """Return the vectors of rows as (N, size). Raises DataError where they are none."""
    found = np.asarray(vectors, np.float32)
    if found.ndim != 2 or len(found) != len(rows) or not np.isfinite(found).all():
        why = f"their shape is {found.shape} for {len(rows)} chunks, or some numbers are not finite"
        raise DataError("the embedder did not return vectors", why=why, fix="check the embedder")
    return found


def _put(connection: sqlite3.Connection, table: str, rows: Sequence[int], found: Vectors) -> None:
    query = f"INSERT OR IGNORE INTO {table} SELECT row, ? FROM chunks WHERE row = ?"
    stored = unit(found).astype("<f4")
    connection.executemany(query, ((vector.tobytes(), row) for row, vector in zip(rows, stored, strict=True)))


def _metadata(chunk: Chunk) -> str:
    try:
        return json.dumps(dict(chunk.metadata), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        why = f"{chunk.source}: {error}"
        raise DataError("metadata cannot be stored", why=why, fix="use texts, numbers, true or false") from error


def filtered_rows(connection: sqlite3.Connection, where: Filter | None) -> Rows | None:
    """Return the rows that fulfil a filter, ascending; None without a filter."""
    if not where:
        return None
    condition, parameters = to_sql(where)
    found = connection.execute(f"SELECT row FROM chunks WHERE {condition} ORDER BY row", parameters)
    return np.fromiter((row for (row,) in found), np.int64)


def setting(connection: sqlite3.Connection, key: str) -> Any:
    """Return a value of the table of settings, or None."""
    found = connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()
    return found[0] if found else None


def embedder_of(connection: sqlite3.Connection) -> tuple[str, int]:
    """Return the name of the embedder and the size of its vectors; ("", 0) while there is none."""
    return str(setting(connection, "embedder") or ""), int(setting(connection, "size") or 0)


def set_embedder(connection: sqlite3.Connection, name: str, size: int) -> None:
    """Record the embedder of the vectors."""
    pairs = [("embedder", name), ("size", size)]
    connection.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?)", pairs)


def check_size(size: int, found: int) -> None:
    """Raise UsageError for a vector of another size than the stored ones."""
    if size != found:
        why = f"the stored vectors have {size} numbers, this one has {found}"
        fix = "use the embedder that the collection was made with"
        raise UsageError("a vector of another embedder", why=why, fix=fix)
