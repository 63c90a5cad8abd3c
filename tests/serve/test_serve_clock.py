"""Stored responses under clocks that are wrong: nothing new is deleted, nothing is thrown away at once."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from seedbed.serve.response_store import ResponseStore, StoredResponse

DAY = 86400.0
AGE = 30 * DAY


class Clock:
    """The system's two clocks, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.steady = 1_700_000_000.0, 50.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(time, "monotonic", lambda: self.steady)

    def pass_(self, seconds: float) -> None:
        self.wall, self.steady = self.wall + seconds, self.steady + seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def put(store: ResponseStore, name: str, size: int = 10) -> None:
    store.put("me", StoredResponse({"id": name, "text": "x" * size}, []))


def kept(store: ResponseStore, names: str) -> str:
    return "".join(name for name in names if store.get("me", name))


def test_a_clock_that_goes_back_deletes_the_oldest_not_the_newest(tmp_path: Path, clock: Clock) -> None:
    with closing(ResponseStore(tmp_path / "r", room=500, age=AGE)) as store:
        put(store, "a", 200)
        clock.wall -= 400 * DAY
        put(store, "b", 200)
        put(store, "c", 200)
        assert kept(store, "abc") == "bc"
    clock.wall -= 400 * DAY
    with closing(ResponseStore(tmp_path / "r", room=500, age=AGE)) as store:
        put(store, "d", 10)
        assert kept(store, "bcd") == "bcd"


def test_a_clock_that_jumps_forward_deletes_nothing_at_once(tmp_path: Path, clock: Clock) -> None:
    with closing(ResponseStore(tmp_path / "r", room=10_000, age=AGE)) as store:
        put(store, "a")
        clock.wall += 4000 * DAY
        put(store, "b")
        assert kept(store, "ab") == "ab"
    with closing(ResponseStore(tmp_path / "r", room=10_000, age=AGE)) as store:
        put(store, "c")
        assert kept(store, "abc") == "abc"
        clock.wall -= 4000 * DAY
        put(store, "d")
        assert kept(store, "abcd") == "abcd"


def test_what_is_too_old_goes(tmp_path: Path, clock: Clock) -> None:
    with closing(ResponseStore(tmp_path / "r", room=10_000, age=AGE)) as store:
        put(store, "a")
        clock.pass_(20 * DAY)
        put(store, "b")
        clock.pass_(11 * DAY)
        assert kept(store, "ab") == "b"
        put(store, "c")
    with closing(sqlite3.connect(tmp_path / "r")) as database:
        assert [row[0] for row in database.execute("SELECT id FROM responses")] == ["b", "c"]
    clock.pass_(3 * DAY)  # while no server runs
    with closing(ResponseStore(tmp_path / "r", room=10_000, age=AGE)) as store:
        clock.pass_(17 * DAY)
        assert kept(store, "bc") == "c"


def test_a_store_of_the_first_form_is_read_after_a_backup(tmp_path: Path, clock: Clock) -> None:
    with closing(sqlite3.connect(tmp_path / "r")) as database:
        database.executescript(
            "CREATE TABLE responses (id TEXT PRIMARY KEY, owner TEXT NOT NULL, created REAL NOT NULL,"
            " size INTEGER NOT NULL, body TEXT NOT NULL, items TEXT NOT NULL);"
            "CREATE INDEX by_owner ON responses (owner, created); PRAGMA user_version=1;"
        )
        row = ("a", "me", clock.wall - DAY, 10, '{"id": "a"}', "[]")
        database.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", row)
        database.commit()
    with closing(ResponseStore(tmp_path / "r", room=10_000, age=AGE)) as store:
        put(store, "b")
        assert kept(store, "ab") == "ab"
    [backup] = [path for path in tmp_path.iterdir() if path.name not in ("r", "r-wal", "r-shm")]
    with closing(sqlite3.connect(backup)) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
