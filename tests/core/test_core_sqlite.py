"""SQLite files: transactions in transactions, other processes, wrong statements. Damage and full disks are tested
where files have contents: with conversations and with stores."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from seedbed.core.errors import DataError, SeedbedError
from seedbed.core.sqlite import Connection, File

SCHEMA = "CREATE TABLE notes (text TEXT)"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    with File(tmp_path / "new" / "notes.sqlite3", SCHEMA, wait=0.05) as made:
        yield made


def notes(file: File) -> list[str]:
    with file.reading() as database:
        return [text for (text,) in database.execute("SELECT text FROM notes")]


def write(file: File, text: str) -> None:
    with file.writing() as database:
        database.execute("INSERT INTO notes VALUES (?)", (text,))


def test_a_block_in_a_block_is_one_transaction(file: File) -> None:
    with suppress(ZeroDivisionError), file.writing():
        write(file, "inner")
        assert notes(file) == ["inner"]
        raise ZeroDivisionError
    assert notes(file) == []
    with file.writing():
        write(file, "inner")
    assert notes(file) == ["inner"]


def test_a_file_that_another_writes_is_in_use(file: File) -> None:
    with closing(sqlite3.connect(file.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO notes VALUES ('theirs')")
        with pytest.raises(SeedbedError, match="in use"):
            write(file, "ours")
        assert notes(file) == []  # readers do not wait
        other.execute("COMMIT")
    write(file, "ours")
    assert notes(file) == ["theirs", "ours"]


def test_a_wrong_statement_is_no_fault_of_the_file(file: File) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"), file.writing() as database:
        database.execute("INSERT INTO nowhere VALUES (1)")
    with pytest.raises(DataError, match="cannot be stored"):
        write(file, "half a pair: \ud800")
    write(file, "goes on")
    assert notes(file) == ["goes on"]


def test_it_is_its_owners_alone(file: File) -> None:
    assert Path(file.path).stat().st_mode & 0o777 == 0o600


def test_a_new_file_and_its_log_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with Connection(tmp_path / "some.sqlite3", "") as made:
            made.run("PRAGMA journal_mode = WAL; CREATE TABLE texts (text TEXT)")
            assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    finally:
        os.umask(before)
