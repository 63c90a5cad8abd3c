"""Words of a text and their stems, as the full-text index sees them.

SQLite's FTS5 brings a tokenizer for Unicode and Porter's stemmer (Porter 1980); the stems here are asked from it, so
that what counts words outside the index and the index itself agree, and no stemmer is written twice. What it leaves
out: languages written without spaces come out as one word a phrase, and other languages than English are not stemmed
well; vectors of a model find those.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable
from unicodedata import normalize

TOKENIZER = "porter unicode61 remove_diacritics 2"
"""The FTS5 tokenizer of every index."""
_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """The words of a text, in its order, in lower case."""
    return _WORD.findall(normalize("NFC", text).lower())


class Stemmer:
    """Stems of words; remembers those it has seen. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stems: dict[str, str] = {}
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(f"CREATE VIRTUAL TABLE words USING fts5(word, tokenize='{TOKENIZER}')")
        self._database.execute("CREATE VIRTUAL TABLE stems USING fts5vocab(words, 'instance')")

    def stems(self, texts: Iterable[str]) -> dict[str, str]:
        """The stem of each word; a word that FTS5 sees as none is its own."""
        wanted = set(texts)
        with self._lock:
            unknown = sorted(word for word in wanted if word not in self._stems)
            if unknown:
                self._learn(unknown)
            return {word: self._stems[word] for word in wanted}

    def _learn(self, unknown: list[str]) -> None:
        self._stems.update(zip(unknown, unknown, strict=True))
        self._database.executemany("INSERT INTO words (rowid, word) VALUES (?, ?)", enumerate(unknown))
        for row, stem in self._database.execute("SELECT doc, term FROM stems WHERE offset = 0"):
            self._stems[unknown[row]] = stem
        self._database.rollback()  # the index is empty again
