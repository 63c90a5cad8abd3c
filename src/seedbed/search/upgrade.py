"""Upgrade of a store that an older seedbed made: its index of words is built anew, in one transaction, after a backup.

Version 1 gave FTS5 every text as it stands. A phrase in a script without spaces was then one word, a vowel sign ended
one. TF-IDF's vectors rest on the same words: where these have changed they are deleted, and made again by the next
`docs add` or `docs embed`; vectors of a model stay.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize

from seedbed.core.migrations import back_up_database
from seedbed.core.progress import say
from seedbed.core.sqlite import statements
from seedbed.vectors.words import indexed, words

_FORMER_WORD = re.compile(r"[^\W_]+")
_BEFORE = """
DROP TRIGGER added;
DROP TRIGGER deleted;
DROP TABLE words;
ALTER TABLE chunks ADD COLUMN text_words TEXT;
ALTER TABLE chunks ADD COLUMN heading_words TEXT;
UPDATE chunks SET text_words = words_beside(text), heading_words = words_beside(heading);
"""
_AFTER = "INSERT INTO words (words) VALUES ('rebuild');"
_CHANGED = "SELECT count(*) FROM chunks WHERE words_changed(text, text_words) OR words_changed(heading, heading_words)"


def words_beside(text: str) -> str | None:
    """Return what FTS5 is given instead of a text, or None where it is given the text."""
    found = indexed(text)
    return None if found == text else found


def upgrade(connection: sqlite3.Connection, path: Path | str, index: str) -> None:
    """Bring the tables of version 1 to the present one.

    Args:
        path: of the file, for what is said.
        index: the statements that make the index of words and record the version.
    """
    connection.create_function("words_beside", 1, words_beside, deterministic=True)
    connection.create_function("words_changed", 2, _changed, deterministic=True)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] != 1:  # another process has done it meanwhile
            connection.execute("ROLLBACK")
            return
        back_up_database(Path(path), 1)
        for statement in statements(_BEFORE + index + _AFTER):
            connection.execute(statement)
        changed, count = (
            connection.execute(query).fetchone()[0] for query in (_CHANGED, "SELECT count(*) FROM chunks")
        )
        forgotten = bool(changed) and _forget_tfidf(connection)
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # after some errors SQLite has rolled back already
            connection.execute("ROLLBACK")
        raise
    if changed:
        say(f"{changed:,} of {count:,} chunks have words that could not be found before")
    if forgotten:
        name = Path(path).parent.name
        say(f"TF-IDF's vectors are to be made anew: `seedbed docs embed {name}`; until then searches are by words")


def _changed(text: str, beside: str | None) -> bool:
    return beside is not None and set(_FORMER_WORD.findall(normalize("NFC", text).lower())) != set(words(text))


def _forget_tfidf(connection: sqlite3.Connection) -> bool:
    """Delete vectors that were counted from words; returns whether there were any."""
    found = connection.execute("SELECT value FROM settings WHERE key = 'embedder' AND value LIKE 'tfidf-%'").fetchone()
    if found:
        connection.execute("DELETE FROM vectors")
        connection.execute("DELETE FROM settings WHERE key IN ('embedder', 'size', 'learnt')")
    return bool(found)
