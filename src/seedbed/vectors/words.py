"""Words of a text and their stems, as the full-text index sees them.

SQLite's FTS5 has a tokenizer for Unicode and Porter's stemmer (Porter 1980). Stems are asked from it, so that counts
made outside the index agree with the index, and no stemmer is written twice. Left out: a phrase in a language written
without spaces is one word, and languages other than English are not stemmed well; a model's vectors find those.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable
from unicodedata import normalize

TOKENIZER = "porter unicode61 remove_diacritics 2"
"""The FTS5 tokenizer of every index."""
_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Return the words of a text, in order, in lower case."""
    return _WORD.findall(normalize("NFC", text).lower())


class Stemmer:
    """Stems of words; remembers those it has seen. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stems: dict[str, str] = {}
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(f"CREATE VIRTUAL TABLE words USING fts5(word, tokenize='{TOKENIZER}')")
        self._database.execute("CREATE VIRTUAL TABLE stems USING fts5vocab(words, 'instance')")

    def stems(self, found: Iterable[str]) -> dict[str, str]:
        """Return the stem of each word; a word that FTS5 does not see as one is its own stem."""
        wanted = set(found)
        with self._lock:
            if unknown := sorted(wanted - self._stems.keys()):
                self._learn(unknown)
            return {word: self._stems[word] for word in wanted}

    def _learn(self, unknown: list[str]) -> None:
        self._stems.update(zip(unknown, unknown, strict=True))
        self._database.executemany("INSERT INTO words (rowid, word) VALUES (?, ?)", enumerate(unknown))
        for row, stem in self._database.execute("SELECT doc, term FROM stems WHERE offset = 0"):
            self._stems[unknown[row]] = stem
        self._database.rollback()  # the index is empty again


_STEMMER = Stemmer()


def stemmed(found: Iterable[str]) -> list[str]:
    """Return the stem of each word, in order."""
    found = list(found)
    stem_of = _STEMMER.stems(found)
    return [stem_of[word] for word in found]


def stem_counts(texts: Iterable[str]) -> list[Counter[str]]:
    """Count how often each stem stands in each text."""
    counts = [Counter(words(text)) for text in texts]
    stem_of = _STEMMER.stems({word for count in counts for word in count})
    found = []
    for count in counts:
        stems: Counter[str] = Counter()
        for word, times in count.items():
            stems[stem_of[word]] += times
        found.append(stems)
    return found
