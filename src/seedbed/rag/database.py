"""The SQLite file of a store: its tables, transactions, and what its errors mean to a user.

Write-ahead logging lets readers go on while one writes; a writer waits for another one. A row of ``chunks`` is never
changed, only deleted and inserted again under a number that no row had before: what is remembered about a row stays
true as long as the row is there. Triggers keep the full-text index and the vectors in step with the chunks.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from seedbed.core.errors import CapacityError, CorruptError, DataError, SeedbedError
from seedbed.core.files import sync_directory
from seedbed.rag.words import TOKENIZER

MARK = 0x5EEDBED
"""In the file's header: the file is a store of ours."""
VERSION = 1
WAIT = 60.0
"""Seconds that a writer waits for another one."""
_PAGE = 16_384  # ten vectors of 384 numbers; the usual 4,096 would hold two
_NO_ROOM = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
_SCHEMA = f"""
CREATE TABLE settings (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE documents (
    source TEXT PRIMARY KEY, origin TEXT NOT NULL, sha256 TEXT NOT NULL, title TEXT NOT NULL, added REAL NOT NULL)
    WITHOUT ROWID;
CREATE INDEX documents_from ON documents (origin);
CREATE TABLE chunks (
    row INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, source TEXT NOT NULL,
    start INTEGER NOT NULL, end INTEGER NOT NULL, page INTEGER, heading TEXT NOT NULL,
    metadata TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX chunks_of ON chunks (source, start);
CREATE TABLE mirrored (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE vectors (row INTEGER PRIMARY KEY, vector BLOB NOT NULL);
CREATE INDEX vector_rows ON vectors (row);
CREATE VIRTUAL TABLE words USING fts5(
    text, heading, content='chunks', content_rowid='row', tokenize='{TOKENIZER}');
CREATE TRIGGER added AFTER INSERT ON chunks BEGIN
    INSERT INTO words (rowid, text, heading) VALUES (new.row, new.text, new.heading);
END;
CREATE TRIGGER deleted AFTER DELETE ON chunks BEGIN
    INSERT INTO words (words, rowid, text, heading) VALUES ('delete', old.row, old.text, old.heading);
    DELETE FROM vectors WHERE row = old.row;
END;
PRAGMA application_id = {MARK};
PRAGMA user_version = {VERSION};
"""


class Database:
    """A connection that threads share, one at a time; ``":memory:"`` is kept nowhere."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._lock = threading.RLock()
        if str(path) != ":memory:" and not Path(path).exists():
            _create(Path(path))
        with self._errors():
            self._connection = _connect(path)
        try:
            with self._errors():
                if str(path) == ":memory:":
                    self._connection.executescript(_SCHEMA)
                self._check()
                query = "CREATE VIRTUAL TABLE temp.instances USING fts5vocab(main, words, 'instance')"
                self._connection.execute(query)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """One state of the file for all that the block reads.

        Raises:
            CorruptError: the file is damaged.
        """
        with self._lock, self._errors():
            if self._connection.in_transaction:  # inside a block of the same thread
                yield self._connection
                return
            with self._transaction("BEGIN"):
                yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all that the block writes, or nothing.

        Raises:
            CapacityError: the disk is full. CorruptError: the file is damaged. SeedbedError: another process has been
                writing for a minute. In every case the file is as it was. Blocks in blocks are one transaction.
        """
        with self._lock, self._errors():
            if self._connection.in_transaction:
                yield self._connection
                return
            with self._transaction("BEGIN IMMEDIATE"):
                yield self._connection

    def version(self) -> int:
        """Another number after another connection has written."""
        with self._lock, self._errors():
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def verify(self) -> None:
        """Read the whole file. Raises CorruptError where it is damaged."""
        with self._lock, self._errors():
            found = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise _corrupt(self.path, str(found))
            self._connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")

    def _check(self) -> None:
        mark = self._connection.execute("PRAGMA application_id").fetchone()[0]
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if mark != MARK:
            raise _corrupt(self.path, "it is an SQLite file, but none of seedbed's stores")
        if version > VERSION:
            why = f"{self.path} has version {version} of the tables, this seedbed knows {VERSION}"
            raise DataError("the store was written by a newer seedbed", why=why, fix="update seedbed")

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # after some errors SQLite has rolled back already
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translate(error, self.path) from error
        except UnicodeEncodeError as error:
            why = f"character {error.start} is one half of a surrogate pair"
            raise DataError("a text cannot be stored", why=why, fix="repair the text's encoding") from error


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = NORMAL")  # with the log: a power cut may lose the last ones, never half
    connection.execute("PRAGMA cache_size = -65536")
    return connection


def _create(path: Path) -> None:
    """Make an empty store aside and give it its name at the end; the first of two processes wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with closing(sqlite3.connect(draft)) as connection:
            connection.execute(f"PRAGMA page_size = {_PAGE}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        with suppress(FileExistsError):
            os.link(draft, path)
    except sqlite3.Error as error:
        raise _translate(error, path) from error
    finally:
        for leftover in path.parent.glob(f"{draft.name}*"):
            leftover.unlink(missing_ok=True)
    sync_directory(path.parent)


def _translate(error: sqlite3.Error, path: Any) -> SeedbedError:
    code = getattr(error, "sqlite_errorcode", 0)
    if code in _NO_ROOM:
        return CapacityError(
            "the disk is full",
            why=f"writing {path} failed ({error}); all that was there before is there still",
            fix="free some space, or set SEEDBED_HOME to a larger disk, and run the command again",
        )
    if code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return _corrupt(path, str(error))
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        why = f"another process has been writing {path} for {WAIT:.0f} seconds"
        return SeedbedError("the store is busy", why=why, fix="wait until it is done (`ps`), and try again")
    return SeedbedError("the store cannot be used", why=f"{path}: {error}", fix="check the file and its permissions")


def _corrupt(path: Any, why: str) -> CorruptError:
    fix = "put back a copy, or remove the collection and add its documents again"
    return CorruptError("the store is damaged", why=f"{path}: {why}", fix=fix)
