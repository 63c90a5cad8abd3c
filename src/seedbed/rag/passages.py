"""Passages that a chain reads, as labelled blocks in a prompt, and the result it returns.

A document may say anything, also text that looks like an instruction or like the end of its own block. Nothing makes a
model immune to that, so a passage stands in the user's message and never in the system's, its block is labelled, and
the marks of blocks, inside a passage or a label, lose their bracket. Braces in a passage stay text because templates
insert values once (``chat.prompts``), and special tokens because the tokenizer reads contents as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from seedbed.chat.messages import Usage
from seedbed.documents.document import Chunk

NOT_FOUND = "Not in the documents."
"""The sentence that a model is told to say, and an answer says, when the passages do not tell."""
_SHORT = 12
"""Words. "I am sorry, but that is not in the documents." has 10; a longer line may speak of documents."""
_MARK = re.compile(r"<(?=\s*/?\s*passage)", re.IGNORECASE)
_HARMLESS = "‹"  # U+2039: reads like the bracket, and opens no block
_NOT_IN_LABELS = re.compile(r"[\s<>\u2028\u2029\x00-\x1f\x7f]+")
_LABEL = 80
"""Characters of a label; a heading can be a whole sentence."""


@dataclass(frozen=True)
class Passage:
    """The part of a chunk that a model is shown: ``chunk.text[start:end]``.

    Attributes:
        number: the chunk's place among the chunks of its question, from 1; answers and citations name it.
    """

    number: int
    chunk: Chunk
    start: int
    end: int

    @property
    def text(self) -> str:
        """The shown text."""
        return self.chunk.text[self.start : self.end]


Show = Callable[[Passage], str]
"""A function that writes a passage into a prompt."""


@dataclass(frozen=True)
class ChainResult:
    """The answer of a chain.

    Attributes:
        text: as the model wrote it.
        shown: the passages that a model read, or those the answer was made from, the best first.
        left: passages, and parts of passages, that no prompt had room for.
        calls: of the model.
    """

    text: str
    shown: tuple[Passage, ...]
    left: tuple[Passage, ...] = ()
    usage: Usage = field(default_factory=Usage)
    calls: int = 0


def is_refusal(text: str) -> bool:
    """Tell whether a reply says that the passages do not tell: it is empty, or has NOT_FOUND in a short first line."""
    first = text.strip().partition("\n")[0].casefold()
    return not first or (NOT_FOUND.rstrip(".").casefold() in first and len(first.split()) <= _SHORT)


def passages_of(chunks: Sequence[Chunk]) -> list[Passage]:
    """Return whole chunks as passages, numbered in order."""
    return [Passage(number, chunk, 0, len(chunk.text)) for number, chunk in enumerate(chunks, 1)]


def quoted(passage: Passage) -> str:
    """Write a passage as a labelled block that its text cannot close."""
    text = _MARK.sub(_HARMLESS, passage.text)
    return f"<passage {passage.number}: {label(passage.chunk)}>\n{text}\n</passage>"


def bare(passage: Passage) -> str:
    """Write the text alone, as LangChain's chains do: for prompts with marks of their own, or trusted text."""
    return passage.text


def label(chunk: Chunk) -> str:
    """Return the origin of a chunk in one short line: the file's name, the page, the heading."""
    name = re.split(r"[\\/]", chunk.source.rstrip("\\/"))[-1]
    page = f", page {chunk.page}" if chunk.page is not None else ""
    heading = f", {chunk.heading}" if chunk.heading else ""
    # a heading's path reads "Install > On Linux": the bracket that would end the mark becomes a slash
    line = " ".join(_NOT_IN_LABELS.sub(" ", f"{name}{page}{heading}".replace(" > ", " / ")).split())
    return line if len(line) <= _LABEL else line[: _LABEL - 1] + "…"
