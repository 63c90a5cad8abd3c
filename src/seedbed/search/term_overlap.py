"""The share of one text's words that another text holds, by weight: the basis of extraction, citations and refusals.

Words in few texts weigh most: the inverse document frequency of BM25 (Robertson & Zaragoza 2009, eq. 3.3, with
1 added inside the logarithm so that none is negative). Words are compared without case, by their stems, and without
common English function words. Not seen: synonyms, negation, another language than the question's.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from seedbed.vectors.words import stemmed, words

_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_STOP = (
    "a about an and any are as at be been but by can could did do does for from had has have he her his how i if in "
    "into is it its many me much my not of on or our s she should so some such than that the their them then there "
    "these they this those to was we were what when where which who whom whose why will with would you your"
)
_STOP_WORDS = frozenset(_STOP.split())


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
