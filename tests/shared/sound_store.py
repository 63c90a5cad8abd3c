"""A check of a collection's whole file, after a process was killed or a disk was full."""

from __future__ import annotations

from seedbed.search.store import Store


def verify(store: Store) -> None:
    """The file is sound, and the full-text index holds what the chunks hold."""
    with store._database.writing() as connection:
        assert connection.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
        connection.execute("INSERT INTO words (words, rank) VALUES ('integrity-check', 1)")
