"""Cut documents into chunks that know where they stand: ``chunk.text == document.text[chunk.start:chunk.end]``.

By headings, paragraphs or sentences (sizes in characters, here), by characters as LangChain does
(``split_characters``), or by exact tokens (``split_tokens``). Nothing but white space between chunks is ever left out
(and, by characters, a separator that is no white space). A chunk carries the headings and the page it begins under.
All but LangChain's own rules keep to the size: what is too large in one piece is cut between its paragraphs, else
sentences, words, characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from seedbed.core.config import setting
from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk, Document
from seedbed.documents.sentences import Span
from seedbed.documents.splitting.characters import check_sizes, split_characters, split_recursive
from seedbed.documents.splitting.tokens import split_tokens
from seedbed.documents.text_spans import Find, cut, merge, paragraphs, sentences, whole, words

By = Literal["heading", "paragraph", "sentence", "characters", "recursive", "tokens"]


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
        count: tokens of a text for the model that will read the chunks; needed by ``by = "tokens"``.

    Raises:
        UsageError: tokens are asked for without ``count``.
        CapacityError: a chunk has no room for a single character.
    """
    settings = settings or SplitSettings()
    size, overlap = settings.chunk_size, settings.chunk_overlap
    match settings.by:
        case "heading":
            return split_headings(document, size, overlap)
        case "paragraph":
            return split_paragraphs(document, size, overlap)
        case "sentence":
            return split_sentences(document, size, overlap)
        case "characters":
            return split_characters(document, size, overlap, settings.separator)
        case "recursive":
            return split_recursive(document, size, overlap)
        case "tokens" if count is not None:
            return split_tokens(document, count, size, overlap)
    raise UsageError(
        "chunks of tokens need a tokenizer", why="no `count` was given", fix="give the count_tokens of a model"
    )


def split_headings(document: Document, chunk_size: int = 1000, chunk_overlap: int = 0) -> list[Chunk]:
    """Return a chunk for each section, its heading included; a longer section is cut between its paragraphs."""
    check_sizes(chunk_size, chunk_overlap)
    borders = sorted({0, *(heading.start for heading in document.headings), len(document.text)})
    sections = pairwise(borders)
    finders = (whole, paragraphs, sentences, words)
    return [chunk for section in sections for chunk in _chunks(document, section, chunk_size, chunk_overlap, finders)]


def split_paragraphs(document: Document, chunk_size: int = 1000, chunk_overlap: int = 0) -> list[Chunk]:
    """Return chunks of as many whole paragraphs as fit."""
    check_sizes(chunk_size, chunk_overlap)
    everything = (0, len(document.text))
    return list(_chunks(document, everything, chunk_size, chunk_overlap, (paragraphs, sentences, words)))


def split_sentences(document: Document, chunk_size: int = 1000, chunk_overlap: int = 0) -> list[Chunk]:
    """Return chunks of as many whole sentences as fit."""
    check_sizes(chunk_size, chunk_overlap)
    return list(_chunks(document, (0, len(document.text)), chunk_size, chunk_overlap, (sentences, words)))


def _chunks(document: Document, span: Span, size: int, overlap: int, finders: tuple[Find, ...]) -> Iterator[Chunk]:
    found = list(cut(document.text, span, lambda piece: piece[1] - piece[0] <= size, finders))
    for first, last in merge(len(found), size, overlap, lambda first, last: found[last][1] - found[first][0]):
        yield document.chunk(found[first][0], found[last][1])
