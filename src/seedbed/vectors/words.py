"""Words of a text and their stems, as the full-text index sees them, and the share of them that another text holds.

This is the one notion of a word: of search, of TF-IDF, of near-duplicates and of the evidence for an answer. SQLite's
FTS5 has a tokenizer for Unicode and Porter's stemmer (Porter 1980). Stems are asked from it, so that counts made
outside the index agree with the index, and no stemmer is written twice. Where FTS5 would see other words than
``segmentation.py`` (scripts without spaces, vowel signs, forms that are folded), it is given those words instead of
the text (:func:`indexed`). Left out: stems of other languages than English.

Extraction, citations and refusals rest on the weighted share of common words. Its weights are the inverse document
frequency of BM25 (Robertson & Zaragoza 2009, eq. 3.3, with 1 added inside the logarithm so that none is negative).
Words are compared without case, by their stems, and without common function words. Not seen: synonyms, negation,
another language than the question's.
"""

from __future__ import annotations

import math
import re
import sqlite3
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from seedbed.vectors.segmentation import is_plain, pieces, runs, telling_pieces, units
from seedbed.vectors.stop_words import STOP_WORDS, contentful

TOKENIZER = "porter unicode61 remove_diacritics 2 categories 'L* N* M* Co'"
"""The FTS5 tokenizer of every index; vowel signs (M*) are parts of words."""
_WORD = re.compile(r"[^\W_]+")


def words(text: str) -> list[str]:
    """Return the words of a text, in order, in lower case; of scripts without spaces the pieces that stand for words.

    The pieces of a run overlap, so that the number of words is not that of the text's.
    """
    if is_plain(text):
        return _WORD.findall(text.lower())
    return [piece for script, run in runs(text) for piece in pieces(script, run)]


def smallest_words(text: str) -> list[str]:
    """Return a text's words, and in scripts without spaces its characters or syllables: nothing overlaps."""
    if is_plain(text):
        return _WORD.findall(text.lower())
    return [unit for script, run in runs(text) for unit in units(script, run)]


def indexed(text: str) -> str:
    """Return what FTS5 has to be given to see the words of a text: the text, or its words with spaces between."""
    return text if is_plain(text) else " ".join(words(text))


class Stemmer:
    """Stems of words; remembers those it has seen. May be used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stems: dict[str, str] = {}
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(f'CREATE VIRTUAL TABLE words USING fts5(word, tokenize="{TOKENIZER}")')
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
    return [Counter(stem_of[word] for word in count.elements()) for count in counts]


def terms(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, in order; in scripts without spaces only the longest pieces."""
    if is_plain(text):
        return stemmed(word for word in _WORD.findall(text.lower()) if word not in STOP_WORDS)
    kept = (
        part for script, run in runs(text) for part in contentful(script, run) for part in telling_pieces(script, part)
    )
    return stemmed(kept)


class TermWeights:
    """The weight of each word, by how many of some texts hold it."""

    def __init__(self, texts: Iterable[Collection[str]]) -> None:
        sets = [set(text) for text in texts]
        self._held = Counter(word for text in sets for word in text)
        self._count = len(sets)

    def __getitem__(self, word: str) -> float:
        """Return the weight, above 0; a word that no text holds weighs most."""
        held = self._held[word]
        return math.log(1 + (self._count - held + 0.5) / (held + 0.5))

    def total(self, words: Iterable[str]) -> float:
        """Return the weight of several words together."""
        return math.fsum(self[word] for word in words)


def coverage(wanted: Collection[str], text: Collection[str], weights: TermWeights) -> float:
    """Return the share, by weight, of the distinct words of ``wanted`` that ``text`` holds: 0 to 1; 0 if none."""
    different = set(wanted)
    total = weights.total(different)
    return weights.total(different.intersection(text)) / total if total else 0.0


def common_subsequence(wanted: Sequence[str], text: Sequence[str], weights: TermWeights) -> float:
    """Return the same share for the heaviest common subsequence: words count only in the order of ``wanted``.

    ROUGE-L's recall (Lin 2004, eq. 2) with weights; O(len(wanted) * len(text)).
    """
    best = [0.0] * (len(text) + 1)
    for word in wanted:
        weight, diagonal = weights[word], 0.0
        for place, other in enumerate(text, 1):
            above = best[place]
            best[place] = max(above, best[place - 1], diagonal + weight if other == word else 0.0)
            diagonal = above
    total = weights.total(wanted)
    return best[-1] / total if total else 0.0
