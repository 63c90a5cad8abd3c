"""Tables in CSV and TSV: one document a file, each row a paragraph of ``column: value`` lines.

A row so stands in one piece, with its columns' names, wherever the text is cut between paragraphs. The first row names
the columns; values beyond them are ``column 7``; empty values are left out. Large tables become parts, as texts do.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, TextIO

from seedbed.documents.document import Document
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.readers.text import open_text, part_document

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 20
_MAX_LINE = 10_000_000
"""Characters."""


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """A table whose delimiter is found out: comma, semicolon, tab or bar.

    Raises:
        DataError: binary, or no table.
        CapacityError: it has more bytes than ``limits.text_bytes``.
    """
    with open_text(stream, source, limits, newline="") as text:
        delimiter = find_delimiter([text.readline(_MAX_LINE) for _ in range(_SAMPLE_LINES)])
        text.seek(0)
        yield from _documents(text, source, limits, delimiter)


def read_tabs(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """A table with tabs between the columns; errors as :func:`read`."""
    with open_text(stream, source, limits, newline="") as text:
        yield from _documents(text, source, limits, "\t")


def find_delimiter(lines: Sequence[str]) -> str:
    """The one that cuts these lines into several columns, equally many everywhere if one does; else a comma."""

    def fitness(delimiter: str) -> tuple[bool, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        fewest = min(counts, default=1)
        return fewest > 1 and len(set(counts)) == 1, fewest

    try:
        return max(_DELIMITERS, key=fitness)
    except csv.Error:
        return ","


def row_text(columns: Sequence[str], values: Sequence[object]) -> str:
    """A row as lines; one without values is empty."""
    names = [*columns, *(f"column {number}" for number in range(len(columns) + 1, len(values) + 1))]
    named = zip(names, values, strict=False)  # a row may be shorter
    cells = ((name, " ".join(str(value).split())) for name, value in named if value is not None)
    return "\n".join(f"{name}: {cell}" if name else cell for name, cell in cells if cell)


def rows_documents(rows: Iterable[str], source: str, limits: Limits) -> Iterator[Document]:
    """Rows as paragraphs of one document, or of several if they are many."""
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


def _documents(text: TextIO, source: str, limits: Limits, delimiter: str) -> Iterator[Document]:
    rows = csv.reader(_lines(text, source), delimiter=delimiter)
    try:
        columns = [" ".join(name.split()) for name in next(rows, [])]
        yield from rows_documents((row_text(columns, row) for row in rows), source, limits)
    except csv.Error as error:
        raise unreadable(source, f"line {rows.line_num:,}: {error}", "correct that line") from error


def _lines(text: TextIO, source: str) -> Iterator[str]:
    while line := text.readline(_MAX_LINE):
        if len(line) == _MAX_LINE and not line.endswith("\n"):
            raise unreadable(source, f"a line has more than {_MAX_LINE:,} characters", "is it a table?")
        yield line
