"""JSON and JSON Lines.

A record with a string under ``text``, ``content``, ``body`` or ``page_content`` (the first of them) is a document of
that text, titled by its ``title``; its other numbers, booleans and short strings become metadata. Any other record is
spelled out, a line for each value: ``address.city: Bonn``. A JSON file is one record, or a list of them; a list, and
the lines of a JSON Lines file, give documents ``name#1``, ``name#2`` … A line that is no JSON is skipped and reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from seedbed.documents.document import Document, Scalar
from seedbed.documents.limits import Limits, read_whole, unreadable
from seedbed.documents.readers import Item, Skipped
from seedbed.documents.readers.html import decode
from seedbed.documents.readers.text import open_text

TEXT_FIELDS = ("text", "content", "body", "page_content")
_MAX_METADATA = 32
_MAX_VALUE = 500
_MAX_LINE = 32_000_000
"""Characters of the longest line of a JSON Lines file."""


def read_json(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """A JSON file.

    Raises:
        DataError: it is not JSON.
        CapacityError: it has more bytes than ``limits.file_bytes``.
    """
    try:
        found = json.loads(decode(read_whole(stream, source, limits), source).removeprefix("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise unreadable(source, f"it is not JSON: {error}", "correct it at that place") from error
    if isinstance(found, list) and any(isinstance(entry, dict) for entry in found):
        for number, entry in enumerate(found, 1):
            yield _document(entry, f"{source}#{number}")
    else:
        yield _document(found, source)


def read_lines(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    """A JSON Lines file.

    Raises:
        DataError: it is binary.
        CapacityError: it has more bytes than ``limits.text_bytes``.
    """
    with open_text(stream, source, limits) as text:
        number = 0
        while line := text.readline(_MAX_LINE):
            number += 1
            if line.strip():
                yield _line(line, f"{source}#{number}")
            while len(line) == _MAX_LINE and not line.endswith("\n"):  # the rest of a line that was too long
                line = text.readline(_MAX_LINE)


def _line(line: str, source: str) -> Item:
    try:
        return _document(json.loads(line), source)
    except (ValueError, RecursionError) as error:
        return Skipped(source, f"it is not JSON: {error}")


def _document(record: Any, source: str) -> Document:
    if not isinstance(record, dict):
        return Document(source, "\n".join(_spelled(record)))
    title = record.get("title")
    title = title if isinstance(title, str) else ""
    field = next((name for name in TEXT_FIELDS if isinstance(record.get(name), str) and record[name].strip()), None)
    if field is None:
        return Document(source, "\n".join(_spelled(record)), title)
    return Document(source, record[field], title, metadata=_metadata(record, field))


def _metadata(record: Mapping[str, Any], field: str) -> dict[str, Scalar]:
    others = ((name, value) for name, value in record.items() if name not in (field, "title"))
    kept = [
        (name, value)
        for name, value in others
        if isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= _MAX_VALUE)
    ]
    return dict(kept[:_MAX_METADATA])


def _spelled(value: Any, name: str = "") -> Iterator[str]:
    """A line for each value; a list of plain values is one line."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _spelled(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and any(isinstance(inner, (dict, list)) for inner in value):
        for number, inner in enumerate(value, 1):
            yield from _spelled(inner, f"{name}.{number}" if name else str(number))
    elif isinstance(value, list):
        yield from _spelled(", ".join(map(_plain, value)), name)
    elif value not in (None, ""):
        yield f"{name}: {_plain(value)}" if name else _plain(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
