"""Rows of data files, streamed: values of JSON and JSON Lines files, rows of CSV and TSV tables.

The one source of rows. ``readers.records`` and ``readers.table`` make documents of them; ``corpus.tables`` makes
dictionaries, from which conversations of a data set are built. A line that is no JSON is a :class:`BadRow`, not an
error, so that one bad line does not cost a file of a million.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, TextIO

from seedbed.documents.encoding import open_text
from seedbed.documents.limits import Limits, read_whole, unreadable

_MAX_RECORD = 32_000_000
"""Characters of the longest line of a JSON Lines file."""
_MAX_LINE = 10_000_000
"""Characters of the longest line of a table."""
FIELD_CHARS = 32_000_000
"""Characters of the longest field of a table."""
_DELIMITERS = ",;\t|^~\x1f"
_SEPARATOR = re.compile(r'\ufeff?"?sep=(.)"?\r?\n?', re.IGNORECASE)
"""The first line by which spreadsheets are told the delimiter."""
_END = "\ue0f0 end of the table \ue0f0"
"""A line of our own below a table's last one."""
_NEXT_VALUE = re.compile(r"[^\s,\x1e]")
_ROWS_KEYS = frozenset(
    [
        "data",
        "rows",
        "records",
        "items",
        "results",
        "entries",
        "documents",
        "examples",
        "features",
        "hits",
        "objects",
        "values",
    ]
)
_WRAPPERS = frozenset(["data", "result", "response", "payload", "hits", "body"])
_NAMES = frozenset(["name", "title", "text", "content", "id"])
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
    """Return the value of a JSON file; a list of them where several stand after each other.

    Raises DataError if it is none, CapacityError above ``limits.file_bytes``.
    """
    with open_text(io.BytesIO(read_whole(stream, source, limits)), source, limits) as text:
        content = text.read()
    try:
        values = list(_values(content))
    except (ValueError, RecursionError) as error:
        raise unreadable(source, f"it is not JSON: {error}", "correct it at that place") from error
    if not values:
        raise unreadable(source, "it is not JSON: it is empty", "leave it out")
    return values[0] if len(values) == 1 else values


def _values(content: str) -> Iterator[Any]:
    decoder, place = json.JSONDecoder(), 0
    while found := _NEXT_VALUE.search(content, place):
        value, place = decoder.raw_decode(content, found.start())
        yield value


def held_rows(value: Any) -> tuple[list[Any], dict[str, Any]] | None:
    """Return the rows that a JSON value holds, and what stands beside them; None if it is one record.

    A list with an object in it is rows. So is the one list of objects that an object holds, under whatever key, if the
    object has no name of its own, or the key is one that is customary for rows; also of an object that wraps another.
    """
    if isinstance(value, list):
        return (value, {}) if any(isinstance(entry, dict) for entry in value) else None
    if not isinstance(value, dict):
        return None
    lists = [key for key, inner in value.items() if isinstance(inner, list) and any(isinstance(e, dict) for e in inner)]
    rows = next((key for key in lists if key.lower() in _ROWS_KEYS), lists[0] if len(lists) == 1 else "")
    if rows and (rows.lower() in _ROWS_KEYS or not _NAMES.intersection(map(str.lower, value))):
        return value[rows], {key: inner for key, inner in value.items() if key != rows}
    wrapped = [key for key, inner in value.items() if key.lower() in _WRAPPERS and isinstance(inner, dict)]
    if len(wrapped) == 1 and (inside := held_rows(value[wrapped[0]])) is not None:
        return inside[0], {**{key: one for key, one in value.items() if key != wrapped[0]}, **inside[1]}
    return None


def table_rows(text: TextIO, source: str, delimiter: str, *, strict: bool = False) -> Iterator[list[str]]:
    """Yield the rows of a table, the first of which names the columns.

    Raises DataError: a row cannot be read, a line or field is too long, or (``strict``) a quotation mark is misplaced.
    """
    rows = csv.reader(chain(_lines(text, source), [_END]), delimiter=delimiter, strict=strict)
    before = 0
    try:
        for row in _with_long_fields(rows):
            if row == [_END]:
                return
            if row and row[-1].endswith(_END):  # only a field that is still open takes in the last line
                if rows.line_num - before > 2:
                    why = f"line {before + 1:,}: a quotation mark opens a field that is never closed"
                    raise unreadable(source, why, "correct that line")
                row[-1] = row[-1].removesuffix(_END)
            before = rows.line_num
            yield row
    except csv.Error as error:
        raise unreadable(source, f"line {rows.line_num:,}: {error}", "correct that line") from error


def find_delimiter(text: TextIO) -> str:
    """Return the delimiter that a line ``sep=;`` names, and pass over that line.

    Otherwise it is the one that cuts the first lines into several columns, equally many if one does; else a comma.
    """
    first = text.readline(_MAX_LINE)
    if named := _SEPARATOR.fullmatch(first):
        return named[1]
    lines = [first, *(text.readline(_MAX_LINE) for _ in range(_SAMPLE_LINES - 1))]
    text.seek(0)
    try:
        return max(_DELIMITERS, key=lambda delimiter: _fitness(lines, delimiter))
    except csv.Error:
        return ","


def _fitness(lines: Sequence[str], delimiter: str) -> tuple[bool, int]:
    counts = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
    fewest = min(counts, default=1)
    return fewest > 1 and len(set(counts)) == 1, fewest


def _with_long_fields(rows: Iterable[list[str]]) -> Iterator[list[str]]:
    """Yield rows under our limit of fields; the csv module has one for the process, so it is set row by row."""
    rows = iter(rows)
    while True:
        before = csv.field_size_limit(FIELD_CHARS)
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
