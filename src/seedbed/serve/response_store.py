"""Stored responses: one SQLite file in write-ahead mode, so that a killed server leaves whole rows.

A row holds everything its response was made from, the conversation before it too: deleting one response breaks no
other. Rows belong to a key; each key has room for so many bytes, and the oldest go first.
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
"""
_TRIM = """
DELETE FROM responses WHERE created < :oldest OR id IN (SELECT id FROM (
    SELECT id, SUM(size) OVER (ORDER BY created DESC, rowid DESC) AS total FROM responses WHERE owner = :owner)
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
        self._file, self._room, self._age = File(path, _SCHEMA, wait=10.0), room, age

    def put(self, owner: str, stored: StoredResponse) -> None:
        """Keep a response, and delete what is too old or too much."""
        body, items, now = json.dumps(stored.body), json.dumps(stored.items), time.time()
        with self._file.writing() as database:
            row = (stored.body["id"], owner, now, len(body) + len(items), body, items)
            database.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", row)
            database.execute(_TRIM, {"owner": owner, "oldest": now - self._age, "room": self._room})

    def get(self, owner: str, identity: str) -> StoredResponse | None:
        """A response of this owner."""
        with self._file.reading() as database:
            query = "SELECT body, items FROM responses WHERE id = ? AND owner = ? AND created >= ?"
            row = database.execute(query, (identity, owner, time.time() - self._age)).fetchone()
        return StoredResponse(json.loads(row[0]), json.loads(row[1])) if row else None

    def delete(self, owner: str, identity: str) -> bool:
        """Delete a response. Returns whether there was one."""
        with self._file.writing() as database:
            done = database.execute("DELETE FROM responses WHERE id = ? AND owner = ?", (identity, owner))
            return done.rowcount > 0

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
