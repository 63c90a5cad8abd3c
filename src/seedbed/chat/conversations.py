"""Saved conversations: one SQLite file in the library, to go on with another day.

A turn is written in one transaction, so that a process that is killed loses at most the turn it was writing, and two
processes that talk in the same conversation lose none of theirs: the turns stand in the order they were written in. A
conversation is only ever added to, until it is deleted.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from seedbed.chat.messages import Message, Usage
from seedbed.chat.summary import Summary
from seedbed.core.artifacts import Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.references import check_name
from seedbed.core.sqlite import File

_SCHEMA = """
CREATE TABLE IF NOT EXISTS conversations (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, created REAL NOT NULL,
    summary TEXT NOT NULL DEFAULT '{}');
CREATE TABLE IF NOT EXISTS messages (
    conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE, place INTEGER NOT NULL,
    seconds REAL NOT NULL, model TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
    body TEXT NOT NULL, PRIMARY KEY (conversation, place)) WITHOUT ROWID;
"""
_LIST = """
SELECT name, created, COALESCE(MAX(seconds), created) AS updated, COUNT(place),
    COALESCE(SUM(prompt_tokens), 0), COALESCE(SUM(completion_tokens), 0)
FROM conversations LEFT JOIN messages ON conversation = id GROUP BY id ORDER BY updated DESC, id DESC
"""


@dataclass(frozen=True)
class ConversationEntry:
    """A message as it is saved, with the tokens that it cost."""

    message: Message
    model: str = ""  # that wrote it; empty for what a person or a tool said
    usage: Usage = field(default_factory=Usage)
    seconds: float = field(default_factory=time.time)


@dataclass(frozen=True)
class Saved:
    """An entry of the list of conversations; times as ``time.time()``."""

    name: str
    created: float
    updated: float
    messages: int
    usage: Usage


class Conversations:
    """Conversations by name. Raises as :class:`~seedbed.core.sqlite.File`; a damaged file stays as it is."""

    def __init__(self, path: Path) -> None:
        self._database = File(path, _SCHEMA)

    @classmethod
    def of(cls, library: Library) -> Self:
        """The library's own."""
        return cls(library.root / "chat" / "conversations.sqlite3")

    def create(self, name: str, entries: Sequence[ConversationEntry] = ()) -> None:
        """Begin a conversation. Raises UsageError where the name is taken or cannot be one."""
        with self._database.writing() as database:
            _check_free(database, name)
            added = database.execute("INSERT INTO conversations (name, created) VALUES (?, ?)", (name, time.time()))
            _write(database, int(added.lastrowid or 0), entries)

    def append(self, name: str, entries: Sequence[ConversationEntry]) -> None:
        """Add a turn: all of its messages or none. Raises NotFoundError where there is no such conversation."""
        with self._database.writing() as database:
            _write(database, _find(database, name), entries)

    def read(self, name: str) -> list[ConversationEntry]:
        """All of a conversation. Raises NotFoundError where there is none."""
        query = "SELECT body, model, prompt_tokens, completion_tokens, seconds FROM messages WHERE conversation = ?"
        with self._database.reading() as database:
            rows = database.execute(f"{query} ORDER BY place", (_find(database, name),)).fetchall()
        return [
            ConversationEntry(Message.from_wire(json.loads(body)), model, Usage(*tokens), seconds)
            for body, model, *tokens, seconds in rows
        ]

    def all(self) -> list[Saved]:
        """All conversations, the one used last first."""
        with self._database.reading() as database:
            rows = database.execute(_LIST).fetchall()
        return [Saved(name, made, used, count, Usage(*tokens)) for name, made, used, count, *tokens in rows]

    def check_free(self, name: str) -> None:
        """Raises UsageError where a name is taken or cannot be one."""
        with self._database.reading() as database:
            _check_free(database, name)

    def rename(self, old: str, new: str) -> None:
        """Raises NotFoundError where there is no such conversation, UsageError as :meth:`create`."""
        with self._database.writing() as database:
            identity = _find(database, old)
            _check_free(database, new)
            database.execute("UPDATE conversations SET name = ? WHERE id = ?", (new, identity))

    def delete(self, name: str) -> None:
        """Forget a conversation; what it held is overwritten. Raises NotFoundError where there is none."""
        with self._database.writing() as database:
            database.execute("DELETE FROM conversations WHERE id = ?", (_find(database, name),))

    def summary(self, name: str) -> Summary:
        """The summary that was kept with a conversation; an empty one where none was."""
        with self._database.reading() as database:
            query = "SELECT summary FROM conversations WHERE id = ?"
            found: dict[str, Any] = json.loads(database.execute(query, (_find(database, name),)).fetchone()[0])
        return Summary(**found)

    def keep_summary(self, name: str, summary: Summary) -> None:
        """Keep a running summary with its conversation."""
        with self._database.writing() as database:
            row = (json.dumps(asdict(summary)), _find(database, name))
            database.execute("UPDATE conversations SET summary = ? WHERE id = ?", row)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _find(database: sqlite3.Connection, name: str) -> int:
    row = database.execute("SELECT id FROM conversations WHERE name = ?", (name,)).fetchone()
    if row is None:
        known = [found[0] for found in database.execute("SELECT name FROM conversations ORDER BY id DESC LIMIT 8")]
        why = f"saved are {', '.join(known)}" if known else "none is saved"
        fix = "list them with `seedbed chats ls`, or begin one with `--save NAME`"
        raise NotFoundError(f"no conversation called {name!r}", why=why, fix=fix)
    return int(row[0])


def _check_free(database: sqlite3.Connection, name: str) -> None:
    check_name(name)
    if database.execute("SELECT 1 FROM conversations WHERE name = ?", (name,)).fetchone():
        why = "each conversation has a name of its own"
        fix = f"go on with it (`--continue {name}`), or choose another name"
        raise UsageError(f"there is a conversation called {name!r} already", why=why, fix=fix)


def _write(database: sqlite3.Connection, conversation: int, entries: Sequence[ConversationEntry]) -> None:
    query = "SELECT COALESCE(MAX(place) + 1, 0) FROM messages WHERE conversation = ?"
    first = database.execute(query, (conversation,)).fetchone()[0]
    for place, one in enumerate(entries, first):
        body = json.dumps(one.message.to_wire())  # ASCII: half a surrogate pair is kept too
        cost = (one.usage.prompt_tokens, one.usage.completion_tokens)
        row = (conversation, place, one.seconds, one.model, *cost, body)
        database.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?)", row)
