"""LangChain's two splitters, with spans: ``CharacterTextSplitter`` and ``RecursiveCharacterTextSplitter``.

The same texts come out, with these differences, which spans bring with them: separators that follow each other stay in
the text of a chunk and count (LangChain drops all but one); white space is always taken off a chunk's ends; and a
separator is a text, not a pattern. As there, a piece without a separator in it may be larger than the chunk size, and
text at a chunk's border is lost if it is a separator that is not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from seedbed.documents.document import Chunk, Document
from seedbed.documents.sentences import Span
from seedbed.documents.text_spans import check_sizes, merge, whole

Keep = Literal["start", "end"] | None
SEPARATORS = ("\n\n", "\n", " ", "")


def split_characters(
    document: Document, chunk_size: int = 1000, chunk_overlap: int = 0, separator: str = "\n\n", keep: Keep = None
) -> list[Chunk]:
    """Return pieces between separators, put together up to the chunk size.

    Args:
        keep: whether a separator belongs to the piece that it begins or ends, or to none.
    """
    check_sizes(chunk_size, chunk_overlap)
    pieces = list(_between(document.text, (0, len(document.text)), separator, keep, chunk_size, chunk_overlap))
    spans = pieces if not separator else merge(pieces, chunk_size, chunk_overlap)
    return _chunks(document, spans)


def split_recursive(
    document: Document,
    chunk_size: int = 1000,
    chunk_overlap: int = 0,
    separators: Sequence[str] = SEPARATORS,
    keep: Keep = "start",
) -> list[Chunk]:
    """Split as :func:`split_characters` by the first separator that occurs; larger pieces by the next ones."""
    check_sizes(chunk_size, chunk_overlap)
    spans = _recursive(document.text, (0, len(document.text)), separators, keep, chunk_size, chunk_overlap)
    return _chunks(document, spans)


def _chunks(document: Document, spans: Iterable[Span]) -> list[Chunk]:
    """Return spans as chunks without the white space at their ends; of nothing else there is none."""
    return [document.chunk(*inner) for span in spans for inner in whole(document.text, span)]


def _recursive(text: str, span: Span, separators: Sequence[str], keep: Keep, size: int, overlap: int) -> Iterator[Span]:
    found = next((index for index, one in enumerate(separators) if text.find(one, *span) >= 0), len(separators) - 1)
    separator, finer = separators[found], separators[found + 1 :]
    pieces = list(_between(text, span, separator, keep, size, overlap))
    if not separator:
        yield from pieces
        return
    waiting: list[Span] = []
    for piece in pieces:
        if piece[1] - piece[0] < size:
            waiting.append(piece)
            continue
        yield from merge(waiting, size, overlap)
        waiting = []
        if finer:
            yield from _recursive(text, piece, finer, keep, size, overlap)
        else:
            yield piece
    yield from merge(waiting, size, overlap)


def _between(text: str, span: Span, separator: str, keep: Keep, size: int, overlap: int) -> Iterator[Span]:
    """Yield pieces between separators; without a separator, whole chunks of characters."""
    start, end = span
    if not separator:
        yield from _grid(start, end, size, overlap)
        return
    begin, place = start, text.find(separator, start, end)
    while place >= 0:
        after = place + len(separator)
        stop = after if keep == "end" else place
        if begin < stop:
            yield begin, stop
        begin = place if keep == "start" else after
        place = text.find(separator, after, end)
    if begin < end:
        yield begin, end


def _grid(start: int, end: int, size: int, overlap: int) -> Iterator[Span]:
    """Return the spans that merging single characters would give."""
    for begin in range(start, end, max(1, size - overlap)):
        yield begin, min(begin + size, end)
        if begin + size >= end:
            return
