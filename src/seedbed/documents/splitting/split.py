"""Cut documents into chunks that know where they stand: ``chunk.text == document.text[chunk.start:chunk.end]``.

By headings, paragraphs or sentences (sizes in characters, here), by characters as LangChain does
(``split_characters``), or by exact tokens (``split_tokens``). Nothing but white space between chunks is ever left out
(and, by characters, a separator that is no white space). A chunk carries the headings and the page it begins under.
All but LangChain's own rules keep to the size: what is too large in one piece is cut between its paragraphs, else
sentences, words, characters.

Tokens do not simply add up (text at a border is cut into tokens anew), so a chunk is put together by the counts of its
sentences and then counted as a whole; where that is too many after all, it gives up sentences. Each count is of the
chunk's own text: what a prompt adds around it is the prompt's to count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Literal

from seedbed.core.config import setting
from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk, Document
from seedbed.documents.sentences import Span
from seedbed.documents.splitting.characters import split_characters, split_recursive
from seedbed.documents.text_spans import Find, check_sizes, cut, merge, paragraphs, sentences, whole, words

Tokens = Callable[[Span], int]
By = Literal["heading", "paragraph", "sentence", "characters", "recursive", "tokens"]
_PIECES: dict[By, tuple[Find, ...]] = {
    "heading": (whole, paragraphs, sentences, words),
    "paragraph": (paragraphs, sentences, words),
    "sentence": (sentences, words),
}
"""The pieces that a chunk is made of; one that is too large is cut into the next ones."""


@dataclass(frozen=True)
class SplitSettings:
    """The settings of splitting documents into chunks."""

    by: By = setting("paragraph", "what chunks are made of")
    chunk_size: int = setting(1000, "most that a chunk has, in characters; with by = 'tokens', in tokens", at_least=1)
    chunk_overlap: int = setting(
        0, "how much of a chunk's end the next one may begin with, in the same unit", at_least=0
    )
    separator: str = setting("\n\n", "with by = 'characters': where to cut")

    def __post_init__(self) -> None:
        if self.chunk_overlap > self.chunk_size:
            raise ValueError(f"the overlap ({self.chunk_overlap}) is larger than the chunk size ({self.chunk_size})")


def split(
    document: Document, settings: SplitSettings | None = None, count: Callable[[str], int] | None = None
) -> list[Chunk]:
    """Return the chunks of a document, in order; none for one without text.

    Args:
        count: tokens of a text for the model that will read the chunks, such as its ``count_tokens``; needed by
            ``by = "tokens"``.

    Raises:
        UsageError: tokens are asked for without ``count``; or as :func:`check_sizes`.
        CapacityError: a chunk has no room for a single character.
    """
    settings = settings or SplitSettings()
    size, overlap = settings.chunk_size, settings.chunk_overlap
    match settings.by:
        case "heading" | "paragraph" | "sentence":
            return split_pieces(document, size, overlap, settings.by)
        case "characters":
            return split_characters(document, size, overlap, settings.separator)
        case "recursive":
            return split_recursive(document, size, overlap)
        case "tokens" if count is not None:
            return split_tokens(document, count, size, overlap)
    why, fix = "no `count` was given", "give the count_tokens of a model"
    raise UsageError("chunks of tokens need a tokenizer", why=why, fix=fix)


def split_pieces(
    document: Document, chunk_size: int = 1000, chunk_overlap: int = 0, by: By = "paragraph"
) -> list[Chunk]:
    """Return chunks of as many whole paragraphs (or sentences) as fit; by heading, only those of one section."""
    check_sizes(chunk_size, chunk_overlap)
    starts = [heading.start for heading in document.headings] if by == "heading" else []
    spans: list[Span] = []
    for section in pairwise(sorted({0, *starts, len(document.text)})):
        found = cut(document.text, section, lambda piece: piece[1] - piece[0] <= chunk_size, _PIECES[by])
        spans += merge(list(found), chunk_size, chunk_overlap)
    return [document.chunk(*span) for span in spans]


def split_tokens(
    document: Document, count: Callable[[str], int], chunk_tokens: int = 256, overlap_tokens: int = 0
) -> list[Chunk]:
    """Return chunks of whole sentences; a longer sentence is cut between words, a longer word anywhere.

    A chunk begins with as many of the last one's sentences as have no more tokens than the overlap.
    """
    check_sizes(chunk_tokens, overlap_tokens)
    text = document.text
    counted = lru_cache(maxsize=None)(lambda span: count(text[span[0] : span[1]]))
    found = list(cut(text, (0, len(text)), lambda span: counted(span) <= chunk_tokens, (sentences, words)))
    gaps = (text[before[1] : after[0]] for before, after in pairwise([(0, 0), *found]))
    # a line break before a piece is one token more, a space is part of its first token
    costs = (counted(span) + ("\n" in gap) for span, gap in zip(found, gaps, strict=True))
    sums = list(accumulate(costs, initial=0))
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
