"""Pieces of a text as spans (paragraphs, sentences, words), and how they are put together again up to a size.

Between two pieces there is only white space, so pieces that follow each other are one span of the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from seedbed.core.errors import CapacityError
from seedbed.documents.sentences import Span, sentence_spans, trim

Find = Callable[[str, Span], Iterator[Span]]
_EMPTY_LINE = re.compile(r"\n[^\S\n]*\n\s*")
_RUN = re.compile(r"\s{100,}|[.!?…]{100,}")
_WORD = re.compile(r"\S+")


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

    Raises:
        CapacityError: a single character does not fit.
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
    while start < end:
        length = _longest(start, end, fits)
        yield start, start + length
        start += length


def _longest(start: int, end: int, fits: Callable[[Span], bool]) -> int:
    """Return the number of characters from ``start`` that fit, found by doubling, then by bisection."""
    if not fits((start, start + 1)):
        raise CapacityError(
            "a chunk has no room for one character",
            why="the chunk size is smaller than the tokens of a single character",
            fix="give a larger chunk size",
        )
    good, bad = 1, 2
    while start + bad <= end and fits((start, start + bad)):
        good, bad = bad, 2 * bad
    bad = min(bad, end - start + 1)
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits((start, start + middle)) else (good, middle)
    return good


def merge(count: int, size: int, overlap: int, length: Callable[[int, int], int]) -> Iterator[tuple[int, int]]:
    """Yield runs of ``count`` pieces, as long as fits: the first and the last piece of each.

    A run begins with as many of the last run's pieces as fit in ``overlap`` and leave room for a new one. A piece that
    is too large is a run of its own.

    Args:
        size: what a run may have at most.
        length: what the run from one piece to another has.
    """
    first = 0
    for piece in range(count):
        if piece > first and length(first, piece) > size:
            yield first, piece - 1
            while first < piece and (length(first, piece - 1) > overlap or length(first, piece) > size):
                first += 1
    if count:
        yield first, count - 1


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
