"""How much of what one text says another says too, by weighted words: what extraction, citations and "not in the
documents" rest on, with no model.

Words that few texts hold weigh most: the inverse document frequency of BM25 (Robertson & Zaragoza 2009, eq. 3.3, with
1 added inside the logarithm so that none is negative). Words are compared without case, by their stems, and without
common English function words. What this cannot see: synonyms, negation, another language than the question's.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from seedbed.vectors.words import Stemmer, words

_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STOP = (
    "a about an and any are as at be been but by can could did do does for from had has have he her his how i if in "
    "into is it its many me much my not of on or our s she should so some such than that the their them then there "
    "these they this those to was we were what when where which who whom whose why will with would you your"
)
STOP_WORDS = frozenset(_STOP.split())


def terms(text: str) -> list[str]:
    """The words that carry meaning, in order, each in the form in which it is compared."""
    found = [part for word in words(text) if word not in STOP_WORDS for part in _parts(word)]
    stems = _stemmer().stems(found)
    return [stems[word] for word in found]


@functools.cache
def _stemmer() -> Stemmer:
    return Stemmer()


def _parts(word: str) -> Iterable[str]:
    """Scripts without spaces have no words to find: their characters are compared one by one."""
    return word if _CJK.search(word) else (word,)


class TermWeights:
    """What each word weighs, by how many of some texts hold it."""

    def __init__(self, texts: Iterable[Collection[str]]) -> None:
        sets = [set(text) for text in texts]
        self._held = Counter(word for text in sets for word in text)
        self._count = len(sets)

    def __getitem__(self, word: str) -> float:
        """Above 0; a word that no text holds weighs most."""
        held = self._held[word]
        return math.log(1 + (self._count - held + 0.5) / (held + 0.5))

    def total(self, words: Iterable[str]) -> float:
        """The weight of several words together."""
        return math.fsum(self[word] for word in words)


def coverage(wanted: Collection[str], text: Collection[str], weights: TermWeights) -> float:
    """The share, by weight, of the different words of ``wanted`` that ``text`` holds: 0 to 1; 0 of nothing."""
    different = set(wanted)
    total = weights.total(different)
    return weights.total(different.intersection(text)) / total if total else 0.0


def order(wanted: Sequence[str], text: Sequence[str], weights: TermWeights) -> float:
    """The same share for the heaviest common subsequence: words count only in the order of ``wanted``.

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
