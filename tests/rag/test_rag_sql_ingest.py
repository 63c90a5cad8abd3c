"""Rows of a database as documents: what they are called, what becomes of them when the database changes."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from seedbed.core.errors import DataError, UsageError
from seedbed.documents.document import Chunk, Document
from seedbed.documents.limits import Limits
from seedbed.documents.readers.sql import name_of
from seedbed.rag.ingest import IngestReport
from seedbed.rag.sql_ingest import origin_of, read_rows
from seedbed.search.store import Store

pytest.importorskip("sqlalchemy", reason="the optional extra sql is not installed")
QUERY = "SELECT id, name, about FROM plants"
Row = tuple[object, object, object]
ROSE, OAK, FERN = (1, "rose", "a shrub with thorns"), (2, "oak", "a tree"), (3, "fern", "has no flowers")


@pytest.fixture
def plants(tmp_path: Path) -> Callable[[Sequence[Row]], str]:
    """Writes the table anew. Returns the database's address."""

    def write(rows: Sequence[Row]) -> str:
        with closing(sqlite3.connect(tmp_path / "garden.db")) as connection, connection:
            connection.execute("DROP TABLE IF EXISTS plants")
            connection.execute("CREATE TABLE plants (id, name, about)")
            connection.executemany("INSERT INTO plants VALUES (?, ?, ?)", rows)
        return f"sqlite:///{tmp_path}/garden.db"

    return write


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store()
    yield made
    made.close()


def whole(document: Document) -> list[Chunk]:
    return [Chunk(document.source, 0, len(document.text), document.text, metadata=document.metadata)]


def kinds(report: IngestReport) -> dict[str, list[str]]:
    """What became of which ids."""
    found = {kind: [one.rpartition("#")[2] for one in getattr(report, kind)] for kind in list(vars(report))[:4]}
    return {kind: ids for kind, ids in found.items() if ids}


def test_only_what_changed_is_kept_anew(store: Store, plants: Callable[[Sequence[Row]], str]) -> None:
    address = plants([ROSE, OAK, FERN])
    assert kinds(read_rows(store, whole, address, QUERY, "id")) == {"read": ["1", "2", "3"]}
    before = {one.source: one.added for one in store.documents()}
    plants([OAK, (1, "rose", "a shrub with prickles"), (4, "ivy", "climbs")])
    report = read_rows(store, whole, address, QUERY, "id")
    assert kinds(report) == {"read": ["4"], "updated": ["1"], "unchanged": ["2"], "deleted": ["3"]}
    after = {one.source: one.added for one in store.documents()}
    oak = f"{origin_of(address, QUERY)}#2"
    assert (after[oak], len(after)) == (before[oak], 3)
    [hit] = store.hits(store.matching("prickles", 4))
    assert hit.chunk.text == "id: 1\nname: rose\nabout: a shrub with prickles"
    assert dict(hit.chunk.metadata) == {"id": 1, "name": "rose", "about": "a shrub with prickles"}
    assert store.hits(store.matching("thorns", 4)) == []


def test_without_an_id_a_row_is_known_by_what_it_says(store: Store, plants: Callable[[Sequence[Row]], str]) -> None:
    address = plants([ROSE, OAK])
    read_rows(store, whole, address, QUERY)
    plants([FERN, OAK])  # in another place now
    found = kinds(read_rows(store, whole, address, QUERY))
    assert {kind: len(ids) for kind, ids in found.items()} == {"read": 1, "unchanged": 1, "deleted": 1}


def test_two_queries_of_a_database_do_not_mix(store: Store, plants: Callable[[Sequence[Row]], str]) -> None:
    address = plants([ROSE, OAK])
    read_rows(store, whole, address, QUERY, "id")
    assert kinds(read_rows(store, whole, address, "SELECT id, name FROM plants", "id")) == {"read": ["1", "2"]}
    assert len(store.documents()) == 4


def test_rows_that_cannot_be_are_named(store: Store, plants: Callable[[Sequence[Row]], str]) -> None:
    address = plants([ROSE, (1, "tulip", "again"), (None, "moss", "no id"), (5, "nan", float("inf")), (6, b"x", None)])
    report = read_rows(store, whole, address, QUERY, "id")
    assert kinds(report) == {"read": ["1", "5", "6"]}
    name = origin_of(address, QUERY)
    assert [(one.source, one.reason) for one in report.skipped] == [
        (f"{name}#1", "another row has the same id"),
        (f"{name}, row 3", "its id is empty"),
    ]


def test_rows_beyond_the_limit_are_not_taken_for_deleted(store: Store, plants: Callable[[Sequence[Row]], str]) -> None:
    address = plants([ROSE, OAK, FERN])
    read_rows(store, whole, address, QUERY, "id")
    report = read_rows(store, whole, address, QUERY, "id", Limits(rows=1))
    assert kinds(report) == {"unchanged": ["1"]}
    assert len(store.documents()) == 3


def test_an_error_leaves_what_was_there(store: Store, plants: Callable[[Sequence[Row]], str], tmp_path: Path) -> None:
    address = plants([ROSE, OAK])
    read_rows(store, whole, address, QUERY, "id")
    with pytest.raises(UsageError, match="no column 'number'"):
        read_rows(store, whole, address, QUERY, "number")
    with closing(sqlite3.connect(tmp_path / "garden.db")) as connection, connection:
        connection.execute("DROP TABLE plants")
    with pytest.raises(DataError):
        read_rows(store, whole, address, QUERY, "id")
    assert len(store.documents()) == 2


def test_a_source_holds_no_password() -> None:
    assert name_of("postgresql+psycopg://ada:secret@db.example.org:5433/shop?x=secret") == (
        "postgresql://db.example.org:5433/shop"
    )


def test_rows_of_postgresql(store: Store) -> None:
    address = os.environ.get("SEEDBED_TEST_POSTGRESQL")
    if not address:
        pytest.skip("SEEDBED_TEST_POSTGRESQL names no server")
    query = "SELECT n, 'number ' || n AS name FROM generate_series(1, 3) AS n"
    assert kinds(read_rows(store, whole, address, query, "n")) == {"read": ["1", "2", "3"]}
    assert kinds(read_rows(store, whole, address, query, "n")) == {"unchanged": ["1", "2", "3"]}
