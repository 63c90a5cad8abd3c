"""SQLite files of the chat floor: write-ahead, so that a killed process leaves whole transactions behind.

One connection a file, shared by the threads of a process behind a lock; several processes take turns in writing and
wait for each other. What can go wrong with a file is told as an error with a remedy, and the file is left as it is.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from seedbed.core.errors import CapacityError, CorruptError, SeedbedError, UsageError

_PATIENCE = 30.0
"""Seconds to wait for another process that writes."""
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_CLOSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_IOERR}


class Database:
    """A file that is readable by its owner alone.

    Args:
        schema: makes what is missing; run when the file is new.
        version: of the schema; a file with another one is refused.
        durable: whether a transaction survives a power cut too, or only the end of the process (which is faster).

    Raises:
        CorruptError: the file is damaged, or is no database.
        UsageError: it has another version.
        SeedbedError: it cannot be opened.
    """

    def __init__(self, path: Path, schema: str, *, version: int = 1, durable: bool = True) -> None:
        self.path, self._lock = path, threading.RLock()
        with self._told():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(0o600)
            self._connection = sqlite3.connect(path, _PATIENCE, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(schema, version, durable)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, schema: str, version: int, durable: bool) -> None:
        run = self._connection.execute
        run("PRAGMA journal_mode=WAL")
        run(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        run("PRAGMA foreign_keys=ON")
        run("PRAGMA secure_delete=ON")  # what is deleted is overwritten
        found = run("PRAGMA user_version").fetchone()[0]
        if found not in (0, version):
            raise UsageError(
                f"{self.path} was written by another version of seedbed",
                why=f"its form is {found}, this version knows {version}",
                fix="use that version, or move the file aside",
            )
        if found == 0:
            self._connection.executescript(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version={version}; COMMIT;")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what the block writes, or nothing of it. Other processes wait.

        Raises:
            CorruptError: the file is damaged.
            CapacityError: the disk is full.
            SeedbedError: another process wrote for too long, or the file cannot be written.
        """
        with self._lock, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """What the block reads is of one moment; nobody waits for it. Raises as :meth:`transaction`."""
        with self._lock, self._told():
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """SQLite's errors as ours; what is none of the file's fault passes as it is."""
        try:
            yield
        except OSError as error:
            raise SeedbedError(f"{self.path} cannot be opened", why=str(error), fix="check its folder") from error
        except sqlite3.Error as error:
            told = self._error((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF, str(error))
            if told is None:
                raise
            raise told from error

    def _error(self, code: int, why: str) -> SeedbedError | None:
        if code in _BROKEN:
            fix = "move it aside with its -wal file: a new one is begun, and SQLite's `.recover` may read the old one"
            return CorruptError(f"{self.path} is damaged", why=why, fix=fix)
        if code == sqlite3.SQLITE_FULL:
            return CapacityError("the disk is full", why=f"{self.path}: {why}", fix="free some space; nothing is lost")
        if code in _BUSY:
            why = f"{why}; waited {_PATIENCE:.0f} s"
            return SeedbedError(f"{self.path} is in use", why=why, fix="end the other process, then try again")
        if code in _CLOSED:
            return SeedbedError(
                f"{self.path} cannot be used", why=why, fix="check who may write the file and its folder"
            )
        return None
