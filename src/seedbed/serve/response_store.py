"""Stored responses: one SQLite file in write-ahead mode, so that a killed server leaves whole rows.

A row holds everything its response was made from, the conversation before it too: deleting one response breaks no
other. Rows belong to a key; each key has room for so many bytes, and the oldest go first, in the order of writing.

Age is judged by a clock of the store's own, which the system's cannot turn back or throw forward: while the store is
open it goes with the monotonic clock, and between two openings by what the system's clock says, but at most a quarter
of the age at which responses go. So a wrong clock deletes nothing at once; after a long pause they stay a while longer.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core.sqlite import File

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, created REAL NOT NULL, size INTEGER NOT NULL,
    body TEXT NOT NULL, items TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_owner ON responses (owner, created);
CREATE TABLE IF NOT EXISTS clock (own REAL NOT NULL, wall REAL NOT NULL);
"""
_CHANGES = {1: "CREATE TABLE clock (own REAL NOT NULL, wall REAL NOT NULL);"}
_TRIM = """
DELETE FROM responses WHERE created < :oldest OR id IN (SELECT id FROM (
    SELECT id, SUM(size) OVER (ORDER BY rowid DESC) AS total FROM responses WHERE owner = :owner)
    WHERE total > :room)
"""


@dataclass(frozen=True)
class StoredResponse:
    """A response as it was answered, and the items of its whole input."""

    body: dict[str, Any]
    items: list[dict[str, Any]]


class ResponseStore:
    """Responses by id and owner, from any thread; ``room`` bytes a key, and none older than ``age`` seconds."""

    def __init__(self, path: Path, room: int, age: float) -> None:
        self._file = File(path, _SCHEMA, version=2, changes=_CHANGES, wait=10.0)
        self._room, self._age = room, age
        self._opened, self._started = self._at_opening(), time.monotonic()

    def put(self, owner: str, stored: StoredResponse) -> None:
        """Keep a response, and delete what is too old or too much."""
        body, items, now = json.dumps(stored.body), json.dumps(stored.items), self._now()
        with self._file.writing() as database:
            row = (stored.body["id"], owner, now, len(body) + len(items), body, items)
            database.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", row)
            database.execute("DELETE FROM clock")
            database.execute("INSERT INTO clock VALUES (?, ?)", (now, time.time()))
            database.execute(_TRIM, {"owner": owner, "oldest": now - self._age, "room": self._room})

    def get(self, owner: str, identity: str) -> StoredResponse | None:
        """A response of this owner."""
        with self._file.reading() as database:
            query = "SELECT body, items FROM responses WHERE id = ? AND owner = ? AND created >= ?"
            row = database.execute(query, (identity, owner, self._now() - self._age)).fetchone()
        return StoredResponse(json.loads(row[0]), json.loads(row[1])) if row else None

    def delete(self, owner: str, identity: str) -> bool:
        """Delete a response. Returns whether there was one."""
        with self._file.writing() as database:
            done = database.execute("DELETE FROM responses WHERE id = ? AND owner = ?", (identity, owner))
            return done.rowcount > 0

    def _now(self) -> float:
        """Return the store's own time, in seconds."""
        return float(self._opened + time.monotonic() - self._started)

    def _at_opening(self) -> float:
        """Return the store's own time at its opening: the last that was kept, and the pause since then."""
        with self._file.reading() as database:
            kept = database.execute("SELECT own, wall FROM clock").fetchone()
            newest = database.execute("SELECT MAX(created) FROM responses").fetchone()[0]
        if kept is None:
            return max(time.time(), float(newest or 0.0))
        own, wall = map(float, kept)
        return own + min(max(0.0, time.time() - wall), self._age / 4)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
