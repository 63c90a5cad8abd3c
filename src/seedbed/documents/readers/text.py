"""Plain text, Markdown, reStructuredText and Python source, of any length.

A text longer than ``limits.part_chars`` becomes several documents, cut between paragraphs where it can be: the first
has the file's name, the next are ``name#2``, ``name#3`` …, whose metadata say at which character of the file they
begin. Spans point into the document's text, which has ``\\n`` for every kind of line end; bytes that are no characters
in the file's encoding are U+FFFD.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from seedbed.documents import headings
from seedbed.documents.document import Document, Heading
from seedbed.documents.encoding import open_text
from seedbed.documents.limits import Limits
from seedbed.documents.text_spans import cut_place

FindHeadings = Callable[[str], tuple[Heading, ...]]


def read(stream: BinaryIO, source: str, limits: Limits, find: FindHeadings = lambda text: ()) -> Iterator[Document]:
    """Yield a text as one document, or as several if it is long."""
    offset = 0
    with open_text(stream, source, limits) as text:
        for number, part in enumerate(_cut(text, limits.part_chars), 1):
            yield part_document(part, source, number, offset, find(part))
            offset += len(part)


read_markdown = partial(read, find=headings.markdown_headings)
read_rst = partial(read, find=headings.rst_headings)
read_python = partial(read, find=headings.python_headings)


def part_document(text: str, source: str, number: int, offset: int, found: tuple[Heading, ...] = ()) -> Document:
    """Return part ``number`` of a file; the first is named as the file itself."""
    title = next((heading.text for heading in found if heading.level == 1), "")
    if number == 1:
        return Document(source, text, title, (), found)
    return Document(f"{source}#{number}", text, title, (), found, {"part": number, "offset": offset})


def _cut(text: io.TextIOWrapper, length: int) -> Iterator[str]:
    """Yield texts of at most ``length`` characters."""
    kept = ""
    while block := text.read(length):
        kept += block
        while len(kept) > length:
            at = cut_place(kept, length)
            yield kept[:at]
            kept = kept[at:]
    if kept:
        yield kept
