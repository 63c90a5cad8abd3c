"""SQLite files: one connection that threads share, transactions, and what its errors mean to a user.

Files are write-ahead, so that a killed process leaves whole transactions behind, readers go on while one process
writes, and a writer waits for another. An error leaves the file as it was. What is none of the file's fault, such as a
wrong statement, passes as it is.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from seedbed.core.errors import CapacityError, CorruptError, DataError, SeedbedError, UsageError

WAIT = 60.0
"""Seconds that a writer waits for another process, unless told otherwise."""
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_CLOSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}


class Connection:
    """An open file, or ``":memory:"``, which is kept nowhere.

    Args:
        repair: what a user can do about a damaged file.
        wait: seconds, for another process that writes.

    Raises:
        SeedbedError: the file cannot be opened.
    """

    def __init__(self, path: Path | str, repair: str, wait: float = WAIT) -> None:
        self.path, self._repair, self._wait, self._lock = path, repair, wait, threading.RLock()
        with self.errors():
            self._connection = sqlite3.connect(path, wait, isolation_level=None, check_same_thread=False)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read one consistent state of the file throughout the block; no writer waits for it.

        Raises:
            CorruptError: the file is damaged.
        """
        with self._transaction("BEGIN"):
            yield self._connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Run a transaction: all that the block writes, or nothing. Nested blocks of a thread are one transaction.

        Raises:
            CorruptError: the file is damaged.
            CapacityError: the disk is full.
            SeedbedError: another process writes for too long, or the file cannot be written.
        """
        with self._transaction("BEGIN IMMEDIATE"):
            yield self._connection

    def run(self, script: str) -> None:
        """Run statements outside of a transaction of ours; raises as :meth:`writing`."""
        with self._lock, self.errors():
            self._connection.executescript(script)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            told = self._told(getattr(error, "sqlite_errorcode", None) or 0, str(error))
            if told is None:
                raise
            raise told from error
        except UnicodeEncodeError as error:
            why = f"character {error.start} is one half of a surrogate pair"
            raise DataError("a text cannot be stored", why=why, fix="repair the text's encoding") from error

    def damaged(self, why: str) -> CorruptError:
        """Return the error of a damaged file."""
        return CorruptError(f"{self.path} is damaged", why=why, fix=self._repair)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        with self._lock, self.errors():
            if self._connection.in_transaction:  # inside a block of the same thread
                yield
                return
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):  # after some errors SQLite has rolled back already
                    self._connection.execute("ROLLBACK")
                raise

    def _told(self, extended: int, why: str) -> SeedbedError | None:
        code = extended & 0xFF
        if code in _BROKEN:
            return self.damaged(why)
        if extended in _NO_ROOM:
            fix = "free some space, or set SEEDBED_HOME to a larger disk, and try again"
            return CapacityError(
                "the disk is full", why=f"writing {self.path}: {why}; all that was there before is there still", fix=fix
            )
        if code in _BUSY:
            why = f"{why}; waited {self._wait:.0f} s for another process that writes it"
            return SeedbedError(f"{self.path} is in use", why=why, fix="end the other process, or wait, and try again")
        if code in _CLOSED:
            fix = "check who may write the file and its folder"
            return SeedbedError(f"{self.path} cannot be used", why=why, fix=fix)
        return None


class File(Connection):
    """A database file readable by its owner alone, created when there is none.

    Args:
        schema: makes what is missing; run when the file is new.
        version: of the schema; a file with another one is refused.
        durable: whether a transaction survives a power cut too, or only the end of the process (which is faster).

    Raises:
        CorruptError: the file is damaged, or is no database.
        UsageError: it has another version.
        SeedbedError: it cannot be opened.
    """

    def __init__(self, path: Path, schema: str, *, version: int = 1, durable: bool = True, wait: float = 30.0) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o600)
        except OSError as error:
            raise SeedbedError(f"{path} cannot be opened", why=str(error), fix="check its folder") from error
        repair = "move it aside with its -wal file: a new one is begun, and SQLite's `.recover` may read the old one"
        super().__init__(path, repair, wait)
        try:
            with self.errors():
                self._prepare(schema, version, durable)
        except BaseException:
            self.close()
            raise

    def _prepare(self, schema: str, version: int, durable: bool) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode=WAL")
        run(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        run("PRAGMA foreign_keys=ON")
        run("PRAGMA secure_delete=ON")  # what is deleted is overwritten
        found = run("PRAGMA user_version").fetchone()[0]
        if found not in (0, version):
            why = f"its form is {found}, this version knows {version}"
            fix = "use that version, or move the file aside"
            raise UsageError(f"{self.path} was written by another version of seedbed", why=why, fix=fix)
        if found == 0:
            self.run(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version={version}; COMMIT;")
