"""Pieces of a text as spans (paragraphs, sentences, words), and how they are put together again up to a size.

Between two pieces there is only white space, so pieces that follow each other are one span of the text.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence

from seedbed.core.errors import CapacityError, UsageError
from seedbed.documents.sentences import Span, sentence_spans, trim

Find = Callable[[str, Span], Iterator[Span]]
_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_RUN = re.compile(r"\s{100,}|[.!?…]{100,}")
_WORD = re.compile(r"\S+")


def check_sizes(chunk_size: int, chunk_overlap: int) -> None:
    """Raise UsageError for a size below 1, or an overlap below 0 or above the size."""
    if chunk_size < 1 or not 0 <= chunk_overlap <= chunk_size:
        what = f"chunks of {chunk_size} that overlap by {chunk_overlap} cannot be made"
        why = "a chunk needs at least 1, and its overlap at least 0 and at most the chunk's size"
        raise UsageError(what, why=why, fix="give other sizes, such as 1000 and 0")


def paragraphs(text: str, span: Span) -> Iterator[Span]:
    """Yield the paragraphs of a span: they stand between empty lines."""
    begin, end = span
    for empty in _EMPTY_LINE.finditer(text, begin, end):
        yield from whole(text, (begin, empty.start()))
        begin = empty.end()
    yield from whole(text, (begin, end))


def whole(text: str, span: Span) -> Iterator[Span]:
    """Yield the span in one piece, if there is something in it."""
    found = trim(text, span)
    if found[0] < found[1]:
        yield found


def sentences(text: str, span: Span) -> Iterator[Span]:
    """Yield sentences, items of lists, and paragraphs that are none of both.

    Long runs of white space or dots are taken out first: they would cost the pattern the square of their length.
    """
    begin, end = span
    for run in _RUN.finditer(text, begin, end):
        yield from _sentences(text, (begin, run.start()))
        yield from whole(text, run.span())
        begin = run.end()
    yield from _sentences(text, (begin, end))


def _sentences(text: str, span: Span) -> Iterator[Span]:
    start, end = span
    return ((start + first, start + last) for first, last in sentence_spans(text[start:end]))


def words(text: str, span: Span) -> Iterator[Span]:
    """Yield the words of a span: they stand between white space."""
    return (found.span() for found in _WORD.finditer(text, *span))


def cut(text: str, span: Span, fits: Callable[[Span], bool], finders: Sequence[Find]) -> Iterator[Span]:
    """Yield pieces that fit, as whole as can be: a larger piece is cut by the next finder, at last by characters.

    Raises CapacityError: a single character does not fit.
    """
    for found in finders[0](text, span):
        if fits(found):
            yield found
        elif len(finders) > 1:
            yield from cut(text, found, fits, finders[1:])
        else:
            yield from _characters(found, fits)


def _characters(span: Span, fits: Callable[[Span], bool]) -> Iterator[Span]:
    start, end = span

    def longest(start: int) -> int:
        return most(end - start, lambda count: count == 0 or fits((start, start + count))) or 0

    while start < end:
        if not (length := longest(start)):
            why = "the chunk size is smaller than the tokens of a single character"
            raise CapacityError("a chunk has no room for one character", why=why, fix="give a larger chunk size")
        yield start, start + length
        start += length


def most(limit: int, fits: Callable[[int], bool]) -> int | None:
    """Return the greatest number from 0 to ``limit`` that fits, or None; by doubling, then halving: counting is slow.

    Longer texts have more tokens, but for one or two where pieces meet; the returned number was itself counted.
    """
    if not fits(0):
        return None
    high = 1
    while high <= limit and fits(high):
        high *= 2
    low = high // 2
    return low + bisect_left(range(low + 1, min(high, limit + 1)), True, key=lambda number: not fits(number))


def merge(pieces: Sequence[Span], size: int, overlap: int) -> Iterator[Span]:
    """Yield runs of pieces, as long as fits in ``size`` characters.

    A run begins with as many of the last run's pieces as fit in ``overlap`` and leave room for a new one. A piece that
    is too large is a run of its own.
    """
    first = 0
    for place, (_, end) in enumerate(pieces):
        if place > first and end - pieces[first][0] > size:
            before = pieces[place - 1][1]
            yield pieces[first][0], before
            while first < place and (before - pieces[first][0] > overlap or end - pieces[first][0] > size):
                first += 1
    if pieces:
        yield pieces[first][0], pieces[-1][1]


def cut_place(text: str, wanted: int) -> int:
    """Return the best place to cut a text near character ``wanted``.

    After a paragraph, else a line, else a word, else exactly there; never in the first half of what comes before
    ``wanted``, so that the parts of a long text stay of similar size.
    """
    for mark in ("\n\n", "\n", " "):
        at = text.rfind(mark, wanted // 2, wanted)
        if at >= 0:
            return at + len(mark)
    return wanted
