"""Tables in CSV and TSV: one document a file, each row a paragraph of ``column: value`` lines.

A row so stands in one piece, with its columns' names, wherever the text is cut between paragraphs. The first row names
the columns; values beyond them are ``column 7``; empty values are left out. Large tables become parts, as texts do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO

from seedbed.documents.document import Document
from seedbed.documents.encoding import open_text
from seedbed.documents.limits import Limits
from seedbed.documents.readers.text import part_document
from seedbed.documents.rows import find_delimiter, table_rows


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield the documents of a table, whose delimiter is found out: comma, semicolon, tab, bar, or what it names."""
    with open_text(stream, source, limits, newline="") as text:
        rows = table_rows(text, source, find_delimiter(text))
        columns = [" ".join(name.split()) for name in next(rows, [])]
        yield from rows_documents((row_text(columns, row) for row in rows), source, limits)


def row_text(columns: Sequence[str], values: Sequence[object]) -> str:
    """Return a row as lines; one without values is empty."""
    names = [*columns, *(f"column {number}" for number in range(len(columns) + 1, len(values) + 1))]
    named = zip(names, values, strict=False)  # a row may be shorter
    cells = ((name, " ".join(str(value).split())) for name, value in named if value is not None)
    return "\n".join(f"{name}: {cell}" if name else cell for name, cell in cells if cell)


def rows_documents(rows: Iterable[str], source: str, limits: Limits) -> Iterator[Document]:
    """Yield rows as paragraphs of one document, or of several if they are many."""
    number, offset = 1, 0
    kept: list[str] = []
    length = 0
    for row in filter(None, rows):
        if kept and length + len(row) > limits.part_chars:
            yield part_document("\n\n".join(kept) + "\n\n", source, number, offset)
            number, offset, kept, length = number + 1, offset + length, [], 0
        kept.append(row)
        length += len(row) + 2
    if kept:
        yield part_document("\n\n".join(kept), source, number, offset)
