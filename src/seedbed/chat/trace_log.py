"""A trace that is kept: spans of work in one SQLite file in the library, read by `seedbed runs traces`.

A span has its kind of work, its name, when it began and ended, how it ended and how many tokens a model read and wrote.
Contents (prompts, replies, passages) are left out unless asked for; an error's text is kept. The file has a bound:
past it the oldest traces go. A process that is killed leaves its spans as unfinished. Tokens are not logged one by one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from seedbed.chat.tracing import TraceEvent
from seedbed.core.artifacts import Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.sqlite import File

ROOM = 64 * 2**20  # bytes of a trace log
_LONGEST = 20_000  # characters of what is kept of one event
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spans (
    number INTEGER PRIMARY KEY, root INTEGER NOT NULL, id TEXT NOT NULL UNIQUE, parent TEXT, what TEXT NOT NULL,
    name TEXT NOT NULL, started REAL NOT NULL, ended REAL, status TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL DEFAULT 0, completion_tokens INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '', data TEXT NOT NULL, result TEXT NOT NULL DEFAULT '{}');
CREATE INDEX IF NOT EXISTS by_root ON spans (root);
"""
_START = """
INSERT OR IGNORE INTO spans (number, root, id, parent, what, name, started, status, data) VALUES (
    (SELECT COALESCE(MAX(number), 0) + 1 FROM spans),
    COALESCE((SELECT root FROM spans WHERE id = :parent), (SELECT COALESCE(MAX(number), 0) + 1 FROM spans)),
    :id, :parent, :what, :name, :seconds, 'running', :data)
"""
_END = """
UPDATE spans SET ended = :seconds, status = :status, prompt_tokens = :read, completion_tokens = :written,
    error = :error, result = :data WHERE id = :id
"""
_SPAN = "id, parent, what, name, started, ended, status, {read}, {written}, error, data, result"
_LATEST = f"""
SELECT {_SPAN.format(read="total_read", written="total_written")} FROM spans JOIN (
    SELECT root AS trace, SUM(prompt_tokens) AS total_read, SUM(completion_tokens) AS total_written
    FROM spans GROUP BY root ORDER BY root DESC LIMIT :limit)
ON number = trace ORDER BY number DESC
"""
_TREE = f"""
SELECT {_SPAN.format(read="prompt_tokens", written="completion_tokens")} FROM spans WHERE root = ? ORDER BY number
"""


@dataclass(frozen=True)
class LoggedSpan:
    """A piece of work. ``ended`` is None while it runs, and for ever where its process was killed.

    ``data`` is told at its start, ``result`` at its end.
    """

    id: str
    parent: str | None
    what: str
    name: str
    started: float
    ended: float | None
    status: str
    prompt_tokens: int
    completion_tokens: int
    error: str
    data: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def seconds(self) -> float | None:
        """The duration."""
        return None if self.ended is None else self.ended - self.started


class TraceLog:
    """A trace of ``room`` bytes: call it with events, from any thread. ``content``: prompts, replies, passages too."""

    def __init__(self, path: Path, *, content: bool = False, room: int = ROOM) -> None:
        self._database = File(path, _SCHEMA, durable=False)
        self._content, self._room = content, room

    @classmethod
    def of(cls, library: Library, *, content: bool = False) -> Self:
        """The library's own."""
        return cls(library.root / "chat" / "traces.sqlite3", content=content)

    def __call__(self, event: TraceEvent) -> None:
        """Keep what an event tells."""
        if event.kind == "token":
            return
        with self._database.writing() as database:
            if event.kind == "start":
                self._trim(database)
                row = {"id": event.span, "parent": event.parent, "what": event.what, "name": event.name}
                database.execute(_START, {**row, "seconds": event.seconds, "data": self._kept(event.data)})
            else:
                database.execute(_END, self._ending(event))

    def latest(self, limit: int = 20) -> list[LoggedSpan]:
        """The outermost spans, the last one first; their tokens are those of all models in them."""
        with self._database.reading() as database:
            return [_span(row) for row in database.execute(_LATEST, {"limit": limit})]

    def tree(self, identity: str) -> list[LoggedSpan]:
        """All spans of a trace in the order they began, by its outermost span's id or a beginning of it.

        Raises NotFoundError where there is none, UsageError where the beginning fits several.
        """
        with self._database.reading() as database:
            query = "SELECT number FROM spans WHERE number = root AND substr(id, 1, ?) = ? LIMIT 2"
            roots = database.execute(query, (len(identity), identity)).fetchall()
            if len(roots) > 1:
                why = "more than one begins like that"
                raise UsageError(f"{identity!r} fits several traces", why=why, fix="give more digits of the id")
            if not roots:
                fix = "list them with `seedbed runs traces`; the oldest ones are deleted"
                raise NotFoundError(f"no trace {identity!r}", why=f"{self._database.path} has none", fix=fix)
            return [_span(row) for row in database.execute(_TREE, roots[0])]

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ending(self, event: TraceEvent) -> dict[str, Any]:
        """Return the values at the end of a span; only a model's own tokens count, so that none counts twice."""
        tokens = event.data if event.what == "model" else {}
        read, written = (int(tokens.get(name) or 0) for name in ("prompt_tokens", "completion_tokens"))
        error = str(event.data.get("error", ""))[:_LONGEST]
        status = "error" if event.kind == "error" else "ok"
        told = self._kept({} if error else event.data)
        row = {"id": event.span, "seconds": event.seconds, "status": status, "data": told}
        return {**row, "read": read, "written": written, "error": error}

    def _kept(self, data: Mapping[str, Any]) -> str:
        told = {name: value for name, value in data.items() if self._content or name != "content"}
        text = json.dumps(told, default=str)
        return text if len(text) <= _LONGEST else json.dumps({"cut": text[:_LONGEST]})

    def _trim(self, database: sqlite3.Connection) -> None:
        """Delete the oldest tenth of a full file: whole traces, or inner spans where there is only one."""
        pragmas = ("page_count", "freelist_count", "page_size")
        pages, free, size = (database.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas)
        if (pages - free) * size <= self._room:
            return
        cut = "SELECT number, root FROM spans ORDER BY number LIMIT 1 OFFSET (SELECT COUNT(*) / 10 FROM spans)"
        number, root = database.execute(cut).fetchone() or (0, 0)
        if not database.execute("DELETE FROM spans WHERE root < ?", (root,)).rowcount:
            database.execute("DELETE FROM spans WHERE number <= ? AND number <> ?", (number, root))


def _span(row: Sequence[Any]) -> LoggedSpan:
    *plain, data, result = row
    return LoggedSpan(*[*plain, json.loads(data), json.loads(result)])
