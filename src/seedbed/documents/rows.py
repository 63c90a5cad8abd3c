"""Rows of data files, streamed: values of JSON and JSON Lines files, rows of CSV and TSV tables.

The one source of rows. ``readers.records`` and ``readers.table`` make documents of them; ``corpus.tables`` makes
dictionaries, from which conversations of a data set are built. A line that is no JSON is a :class:`BadRow`, not an
error, so that one bad line does not cost a file of a million.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

from seedbed.documents.encoding import open_text
from seedbed.documents.limits import Limits, read_whole, unreadable

_MAX_RECORD = 32_000_000
"""Characters of the longest line of a JSON Lines file."""
_MAX_LINE = 10_000_000
"""Characters of the longest line of a table."""
FIELD_CHARS = 131_072
"""Characters of the longest field of a table, unless more are allowed: an open quotation mark takes in the rest."""
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 20


@dataclass(frozen=True)
class BadRow:
    """A line that is no row, and why."""

    reason: str


def json_lines(stream: BinaryIO, source: str, limits: Limits, encoding: str = "") -> Iterator[tuple[int, Any]]:
    """Yield the number and the value of every line that is not blank; a :class:`BadRow` for one that is no JSON.

    Encoding and errors are those of :func:`open_text`.
    """
    with open_text(stream, source, limits, encoding=encoding) as text:
        for number, line in enumerate(_records(text), 1):
            if line.strip():
                yield number, _value(line)


def _records(text: TextIO) -> Iterator[str]:
    """Yield lines; of one that is too long only the beginning, which is no JSON and is reported as such."""
    while line := text.readline(_MAX_RECORD):
        yield line
        while len(line) == _MAX_RECORD and not line.endswith("\n"):
            line = text.readline(_MAX_RECORD)


def _value(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return BadRow(f"it is not JSON: {error}")


def is_json_lines(stream: BinaryIO) -> bool:
    """Return whether a file called .json holds JSON Lines: an object on its first line, and more after it."""
    try:
        first = json.loads(stream.readline(_MAX_RECORD).decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return isinstance(first, dict) and any(stream.readline(_MAX_RECORD).strip() for _ in range(_SAMPLE_LINES))


def json_value(stream: BinaryIO, source: str, limits: Limits) -> Any:
    """Return the value of a JSON file. Raises DataError if it is none, CapacityError above ``limits.file_bytes``."""
    with open_text(io.BytesIO(read_whole(stream, source, limits)), source, limits) as text:
        try:
            return json.load(text)
        except (ValueError, RecursionError) as error:
            raise unreadable(source, f"it is not JSON: {error}", "correct it at that place") from error


def table_rows(
    text: TextIO, source: str, delimiter: str, *, strict: bool = False, field_chars: int = FIELD_CHARS
) -> Iterator[list[str]]:
    """Yield the rows of a table, the first of which names the columns.

    Raises DataError: a row cannot be read, a line or field is too long, or (``strict``) a quotation mark is misplaced.
    """
    rows = csv.reader(_lines(text, source), delimiter=delimiter, strict=strict)
    try:
        yield from _with_fields(rows, field_chars)
    except csv.Error as error:
        raise unreadable(source, f"line {rows.line_num:,}: {error}", "correct that line") from error


def find_delimiter(text: TextIO) -> str:
    """Return the delimiter that cuts the first lines into several columns, equally many if one does; else a comma."""
    lines = [text.readline(_MAX_LINE) for _ in range(_SAMPLE_LINES)]
    text.seek(0)
    try:
        return max(_DELIMITERS, key=lambda delimiter: _fitness(lines, delimiter))
    except csv.Error:
        return ","


def _fitness(lines: Sequence[str], delimiter: str) -> tuple[bool, int]:
    counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
    fewest = min(counts, default=1)
    return fewest > 1 and len(set(counts)) == 1, fewest


def _with_fields(rows: Iterable[list[str]], field_chars: int) -> Iterator[list[str]]:
    """Yield rows under another limit of fields; the csv module has one for the process, so it is set row by row."""
    rows = iter(rows)
    while True:
        before = csv.field_size_limit(field_chars)
        try:
            row = next(rows, None)
        finally:
            csv.field_size_limit(before)
        if row is None:
            return
        yield row


def _lines(text: TextIO, source: str) -> Iterator[str]:
    while line := text.readline(_MAX_LINE):
        if len(line) == _MAX_LINE and not line.endswith("\n"):
            raise unreadable(source, f"a line has more than {_MAX_LINE:,} characters", "check that it is a table")
        yield line
