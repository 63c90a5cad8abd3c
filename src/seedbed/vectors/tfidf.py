"""Weights of words by how few texts hold them: TF-IDF vectors, and the share of one text's words in another text.

A text's TF-IDF weights are ``(1 + ln tf) * idf`` with ``idf = 1 + ln((1 + N) / (1 + df))``, scaled to length 1, as
scikit-learn's TfidfVectorizer computes with ``sublinear_tf=True, smooth_idf=True``.

Extraction, citations and refusals rest on the weighted share of common words. Its weights are the inverse document
frequency of BM25 (Robertson & Zaragoza 2009, eq. 3.3, with 1 added inside the logarithm so that none is negative).
Words are compared without case, by their stems, and without common English function words. Not seen: synonyms,
negation, another language than the question's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seedbed.vectors.arrays import SparseRows, Vectors
from seedbed.vectors.words import stem_counts, stemmed, words

MOST_TERMS = 32_768
"""Terms that are kept: those in the most texts."""
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STOP = (
    "a about an and any are as at be been but by can could did do does for from had has have he her his how i if in "
    "into is it its many me much my not of on or our s she should so some such than that the their them then there "
    "these they this those to was we were what when where which who whom whose why will with would you your"
)
_STOP_WORDS = frozenset(_STOP.split())


@dataclass(frozen=True)
class Tfidf:
    """The terms of a collection and how rare they are.

    Attributes:
        terms: in the order of their columns.
        idf: (terms,).
    """

    terms: tuple[str, ...]
    idf: Vectors

    @classmethod
    def fit(cls, texts: Sequence[str], most: int = MOST_TERMS) -> Tfidf:
        """Learn from texts. Of more than ``most`` terms, those in the most texts are kept."""
        found = Counter(term for count in stem_counts(texts) for term in count)
        frequent = sorted(found, key=lambda term: (-found[term], term))[:most]
        terms = tuple(sorted(frequent))
        idf = [1 + math.log((1 + len(texts)) / (1 + found[term])) for term in terms]
        return cls(terms, np.array(idf, np.float32))

    def weights(self, texts: Sequence[str]) -> SparseRows:
        """Return the weights (N, terms), each row of length 1; unknown terms count nothing."""
        starts, columns, values = [0], list[int](), list[float]()
        for count in stem_counts(texts):
            row = sorted((self._column[term], times) for term, times in count.items() if term in self._column)
            weights = [(1 + math.log(times)) * float(self.idf[column]) for column, times in row]
            length = math.sqrt(sum(weight * weight for weight in weights)) or 1.0
            columns += [column for column, _ in row]
            values += [weight / length for weight in weights]
            starts.append(len(columns))
        return SparseRows(np.array(starts), np.array(columns, np.int64), np.array(values, np.float32))

    @cached_property
    def _column(self) -> dict[str, int]:
        return {term: column for column, term in enumerate(self.terms)}


def terms(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, in order.

    Scripts without spaces have no words to find: their characters are compared one by one.
    """
    kept = [word for word in words(text) if word not in _STOP_WORDS]
    return stemmed(part for word in kept for part in (word if _CJK.search(word) else (word,)))


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
