"""Chunks of at most so many tokens, counted by the very tokenizer of the model that will read them.

Tokens do not simply add up (text at a border is cut into tokens anew), so a chunk is put together by the counts of its
sentences and then counted as a whole; where that is too many after all, it gives up sentences. Each count is of the
chunk's own text: what a prompt adds around it is the prompt's to count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import accumulate, pairwise

from seedbed.documents.document import Chunk, Document
from seedbed.documents.sentences import Span
from seedbed.documents.splitting.characters import check_sizes
from seedbed.documents.text_spans import cut, sentences, words

Count = Callable[[str], int]
Tokens = Callable[[Span], int]


def split_tokens(document: Document, count: Count, chunk_tokens: int = 256, overlap_tokens: int = 0) -> list[Chunk]:
    """Return chunks of whole sentences; a longer sentence is cut between words, a longer word anywhere.

    Args:
        count: how many tokens a text has, such as a model's ``count_tokens``.
        overlap_tokens: a chunk begins with as many of the last one's sentences as have no more tokens than this.

    Raises:
        UsageError: a size below 1, an overlap below 0 or above the size.
        CapacityError: a single character has more tokens than a chunk may.
    """
    check_sizes(chunk_tokens, overlap_tokens)
    text = document.text
    counted = lru_cache(maxsize=None)(lambda span: count(text[span[0] : span[1]]))
    found = list(cut(text, (0, len(text)), lambda span: counted(span) <= chunk_tokens, (sentences, words)))
    sums = list(accumulate(_costs(text, found, counted), initial=0))
    runs = _runs(found, sums, counted, chunk_tokens, overlap_tokens)
    return [document.chunk(found[first][0], found[last][1]) for first, last in runs]


def _runs(found: list[Span], sums: list[int], counted: Tokens, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last piece of each chunk; ``sums`` are the tokens of the pieces before each."""
    first, done = 0, -1  # the last piece that a chunk has
    while done < len(found) - 1:
        last = max(done + 1, bisect_right(sums, sums[first] + size) - 2)
        while first < last and counted((found[first][0], found[last][1])) > size:
            if first <= done:
                first += 1  # less overlap
            else:
                last -= 1
        yield first, last
        done = last
        fewest = max(sums[last + 1] - overlap, sums[min(last + 2, len(found))] - size)
        first = max(first + 1, bisect_left(sums, fewest, hi=last + 1))


def _costs(text: str, found: list[Span], counted: Tokens) -> Iterator[int]:
    """Yield tokens of each piece; a line break before it is one more, a space is part of its first token."""
    gaps = (text[before[1] : after[0]] for before, after in pairwise([(0, 0), *found]))
    return (counted(span) + ("\n" in gap) for span, gap in zip(found, gaps, strict=True))
