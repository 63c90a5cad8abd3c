"""Copies among found chunks: the same text, or nearly the same, from another place; the best of them stands for all.

Nearly the same are chunks that share four in five of their five-word runs. Not those that differ in a number or a
"not", such as this year's prices and last year's: they say something else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from seedbed.corpus.minhash import Keys, shingles
from seedbed.documents.document import Chunk
from seedbed.search.contracts import Hit
from seedbed.vectors.words import words

NEAR = 0.8
"""Share of the five-word runs of two texts that both have, from which one is a copy."""
_DENIALS = frozenset(("not", "no", "never", "without", "cannot", "t"))


@dataclass
class Distinct:
    """Hits without copies, up to ``most``."""

    most: int
    hits: list[Hit] = field(default_factory=list)
    _texts: list[tuple[list[str], Keys]] = field(default_factory=list)

    def add(self, found: Iterable[Hit]) -> bool:
        """Take hits, best first; return whether there are enough. A copy is named by the hit that it is one of."""
        for hit in found:
            text = words(hit.chunk.text), shingles(hit.chunk.text)
            place = next((at for at, known in enumerate(self._texts) if _is_copy(text, known)), None)
            if place is not None:
                known = self.hits[place]
                self.hits[place] = replace(known, copies=(*known.copies, _named(hit.chunk)))
            elif len(self.hits) < self.most:
                self.hits.append(hit)
                self._texts.append(text)
            else:
                return True
        return False


def _is_copy(one: tuple[list[str], Keys], other: tuple[list[str], Keys]) -> bool:
    if one[0] == other[0]:
        return True
    mine, theirs = set(one[1].tolist()), set(other[1].tolist())
    if len(mine & theirs) < NEAR * len(mine | theirs):
        return False
    return not any(word in _DENIALS or any(map(str.isdigit, word)) for word in set(one[0]) ^ set(other[0]))


def _named(chunk: Chunk) -> str:
    return chunk.source if chunk.page is None else f"{chunk.source}:{chunk.page}"
