"""SQLite files: one connection that threads share, transactions, and what its errors mean to a user.

Files are write-ahead, so that a killed process leaves whole transactions behind, readers go on while one process
writes, and a writer waits for another. An error leaves the file as it was. What is none of the file's fault, such as a
wrong statement, passes as it is.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from seedbed.core.errors import CapacityError, CorruptError, DataError, SeedbedError, UsageError, newer_form
from seedbed.core.migrations import back_up_database

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

    A new file is its owner's alone. One that may not be written is opened for reading: ``read_only`` says so.

    Raises:
        SeedbedError: the file cannot be opened.
    """

    def __init__(self, path: Path | str, repair: str, wait: float = WAIT) -> None:
        self.path, self._repair, self._wait, self._lock = path, repair, wait, threading.RLock()
        in_memory = str(path) == ":memory:"
        self.read_only = not in_memory and not _may_write(Path(path))
        address = "file::memory:" if in_memory else _address(Path(path), self.read_only)
        with self.errors():
            self._connection = sqlite3.connect(address, wait, isolation_level=None, check_same_thread=False, uri=True)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Read one consistent state throughout the block; no writer waits for it. Raises CorruptError: damaged."""
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
        if self.read_only:
            why, fix = "its folder may only be read", "check its permissions, or work on a copy (SEEDBED_HOME)"
            raise UsageError(f"{self.path} cannot be changed", why=why, fix=fix)
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
        version: of the schema, its form; a file of a newer one is refused.
        changes: form → the statements that bring a file of it to the next; a backup is made before.
        durable: whether a transaction survives a power cut too, or only the end of the process (which is faster).

    Raises:
        CorruptError: the file is damaged, or is no database.
        NewerError: it has a newer form.
        SeedbedError: it cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        *,
        version: int = 1,
        changes: Mapping[int, str] | None = None,
        durable: bool = True,
        wait: float = 30.0,
    ) -> None:
        with suppress(OSError):  # opening says what is the matter
            path.parent.mkdir(parents=True, exist_ok=True)
        repair = "move it aside with its -wal file: a new one is begun, and SQLite's `.recover` may read the old one"
        missing = not path.exists() and not _may_write(path)
        super().__init__(":memory:" if missing else path, repair, wait)
        try:
            with self.errors():
                self._prepare(schema, version, changes or {}, durable)
                if missing:  # in a library that may only be read: empty, and nothing can be written
                    self.path, self.read_only = path, True
        except BaseException:
            self.close()
            raise

    def _prepare(self, schema: str, version: int, changes: Mapping[int, str], durable: bool) -> None:
        run = self._connection.execute
        found = run("PRAGMA user_version").fetchone()[0]
        if found > version:
            raise newer_form(str(self.path), found, version)
        run("PRAGMA foreign_keys=ON")
        if self.read_only:
            if found != version:
                raise must_be_upgraded(self.path, found, version)
            return
        run("PRAGMA journal_mode=WAL")
        run(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        run("PRAGMA secure_delete=ON")  # what is deleted is overwritten
        if found == 0:
            self.run(f"BEGIN IMMEDIATE; {schema}; PRAGMA user_version={version}; COMMIT;")
        elif found < version:
            self._upgrade(changes, version)

    def _upgrade(self, changes: Mapping[int, str], version: int) -> None:
        """Bring the file to the present form, all of it or nothing, after a backup."""
        with self.writing() as database:
            found = database.execute("PRAGMA user_version").fetchone()[0]
            if found == version:  # another process has done it meanwhile
                return
            back_up_database(Path(self.path), found)
            for form in range(found, version):
                for statement in statements(changes[form]):
                    database.execute(statement)
            database.execute(f"PRAGMA user_version={version}")


def must_be_upgraded(path: Path | str, form: int, known: int) -> UsageError:
    """Return the error for a file of an earlier form that may not be written."""
    why = f"its form is {form}, and bringing it to form {known} needs the right to write there"
    return UsageError(f"{path} cannot be opened", why=why, fix="copy the library to a folder of yours (SEEDBED_HOME)")


def statements(script: str) -> Iterator[str]:
    """Yield the statements of a script: ``executescript`` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _may_write(path: Path) -> bool:
    return os.access(path.parent, os.W_OK) and (not path.exists() or os.access(path, os.W_OK))


def _address(path: Path, read_only: bool) -> str:
    """Return the address of a file for SQLite; a new one is made first, its owner's alone."""
    address = path.absolute().as_uri()
    if read_only:  # without a log nobody is writing, and none can be made there
        return f"{address}?mode=ro" if path.with_name(f"{path.name}-wal").exists() else f"{address}?immutable=1"
    with suppress(OSError):  # opening it says what is the matter
        path.touch(0o600)
    return f"{address}?mode=rw"
