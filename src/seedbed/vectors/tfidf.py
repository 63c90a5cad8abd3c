"""TF-IDF: how much each word of a text weighs, learned from the collection's own texts.

A text's weights are ``(1 + ln tf) * idf`` with ``idf = 1 + ln((1 + N) / (1 + df))``, scaled to length 1, as
scikit-learn's TfidfVectorizer computes with ``sublinear_tf=True, smooth_idf=True``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from seedbed.vectors.arrays import SparseRows, Vectors
from seedbed.vectors.words import stem_counts

MOST_TERMS = 32_768
"""Terms that are kept: those in the most texts."""


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
