"""Passages as data in a prompt: each in a block of its own that says where it comes from and that it cannot close.

A document may say anything, also what looks like an instruction or like the end of its own block. Nothing makes a model
immune to that; what can be done here is done: a passage stands in the user's message and never in the system's, its
block is labelled, and the marks of blocks, inside a passage or a label, lose their bracket. Braces in a passage stay
text because templates insert values once (``chat.prompts``), and special tokens because the tokenizer reads contents
as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from seedbed.documents.document import Chunk

_MARK = re.compile(r"<(?=\s*/?\s*passage)", re.IGNORECASE)
_HARMLESS = "‹"  # U+2039: reads like the bracket, and opens no block
_NOT_IN_LABELS = re.compile(r"[\s<>\u2028\u2029\x00-\x1f\x7f]+")
_LABEL = 80
"""Characters of a label; a heading can be a whole sentence."""


@dataclass(frozen=True)
class Passage:
    """What a model is shown of a chunk: ``chunk.text[start:end]``.

    Attributes:
        number: the chunk's place among the chunks of its question, from 1; answers and citations name it.
    """

    number: int
    chunk: Chunk
    start: int
    end: int

    @property
    def text(self) -> str:
        """What is shown."""
        return self.chunk.text[self.start : self.end]


Show = Callable[[Passage], str]
"""How a passage is written into a prompt."""


def passages_of(chunks: Sequence[Chunk]) -> list[Passage]:
    """Whole chunks as passages, numbered in their order."""
    return [Passage(number, chunk, 0, len(chunk.text)) for number, chunk in enumerate(chunks, 1)]


def quoted(passage: Passage) -> str:
    """The passage as a labelled block that its text cannot close."""
    return f"<passage {passage.number}: {label(passage.chunk)}>\n{neutral(passage.text)}\n</passage>"


def bare(passage: Passage) -> str:
    """The text alone, as LangChain's chains show it: for prompts that bring their own marks, or trusted text."""
    return passage.text


def neutral(text: str) -> str:
    """The text with the brackets of our own marks replaced."""
    return _MARK.sub(_HARMLESS, text)


def label(chunk: Chunk) -> str:
    """Where a chunk comes from, in one short line: the file's name, the page, the heading."""
    name = re.split(r"[\\/]", chunk.source.rstrip("\\/"))[-1]
    page = f", page {chunk.page}" if chunk.page is not None else ""
    heading = f", {chunk.heading}" if chunk.heading else ""
    # a heading's path reads "Install > On Linux": the bracket that would end the mark becomes a slash
    line = " ".join(_NOT_IN_LABELS.sub(" ", f"{name}{page}{heading}".replace(" > ", " / ")).split())
    return line if len(line) <= _LABEL else line[: _LABEL - 1] + "…"
