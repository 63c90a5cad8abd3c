"""JSON and JSON Lines.

A record with a string under ``text``, ``content``, ``body`` or ``page_content`` (the first of them) is a document that
begins with that text; one with chat ``messages`` begins with what each role says. Its other fields follow, a line for
each value: ``address.city: Bonn``; long texts first. How much of the document is prose, the text and the long ones, is
its ``prose_chars``: a corpus learns from that part alone, since numbers and marks beside every text teach it noise. It
is titled by its ``title``, and numbers, booleans and short strings are also metadata. Any other record is spelled out
whole. A JSON file is one record, several (a list, or an object that holds one under a key) or JSON Lines; these give
documents ``name#1``, ``name#2`` … A line that is no JSON is skipped and reported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from seedbed.documents.document import Document, Scalar
from seedbed.documents.limits import Limits
from seedbed.documents.readers import Item, Skipped
from seedbed.documents.rows import BadRow, held_rows, is_json_lines, json_lines, json_value

TEXT_FIELDS = ("text", "content", "body", "page_content")
PROVENANCE = ("licence", "license", "path", "url", "id")
"""Fields that a corpus needs; they are kept as metadata however many others there are."""
PROSE_CHARS = "prose_chars"
"""The metadata that says how many characters of a record's text are prose."""
_PROSE = 200  # characters of a field from which it is prose
_MAX_METADATA = 31
_MAX_VALUE = 500


def read_json(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    """Yield the documents of a JSON file."""
    if is_json_lines(stream):
        yield from read_lines(stream, source, limits)
        return
    stream.seek(0)
    found = json_value(stream, source, limits)
    rows, beside = held_rows(found) or ([], {})
    for number, entry in enumerate(rows, 1):
        yield _document(entry, f"{source}#{number}")
    if not rows or any(_spelled(beside)):
        yield _document(beside if rows else found, source)


def read_lines(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    """Yield a document for each line of a JSON Lines file."""
    for number, value in json_lines(stream, source, limits):
        yield _line(value, f"{source}#{number}")


def _line(value: Any, source: str) -> Item:
    if isinstance(value, BadRow):
        return Skipped(source, value.reason)
    try:
        return _document(value, source)
    except RecursionError:
        return Skipped(source, "its parts are nested too deeply")


def _document(record: Any, source: str) -> Document:
    if not isinstance(record, dict):
        return Document(source, "\n".join(_spelled(record)))
    title = record.get("title")
    title = title if isinstance(title, str) else ""
    field = next((name for name in TEXT_FIELDS if isinstance(record.get(name), str) and record[name].strip()), "")
    text = record[field] if field else _conversation(record.get("messages"))
    if not text:
        return Document(source, "\n".join(_spelled(record)), title)
    used = {field or "messages", "title" if title else "", *PROVENANCE}
    others = [line for key, value in record.items() if key not in used for line in _spelled(value, key)]
    prose = "\n\n".join([text, *(line for line in others if len(line) > _PROSE)])
    short = "\n".join(line for line in others if len(line) <= _PROSE)
    whole = f"{prose}\n\n{short}" if short else prose
    return Document(source, whole, title, metadata=_metadata(record, field) | {PROSE_CHARS: len(prose)})


def _conversation(messages: object) -> str:
    """Return what each role says, a paragraph each; "" for what is no list of messages."""
    if not isinstance(messages, list):
        return ""
    paragraphs = []
    for message in messages:
        match message:
            case {"role": str(role), "content": str(content)}:
                paragraphs.append(f"{role.capitalize()}: {content}")
            case _:
                return ""
    return "\n\n".join(paragraphs) + "\n" if paragraphs else ""


def _metadata(record: Mapping[str, Any], field: str) -> dict[str, Scalar]:
    names = [*PROVENANCE, *(name for name in record if name not in (field, "title", *PROVENANCE))]
    kept = {name: record[name] for name in names if name in record and _is_short(record[name])}
    return dict(list(kept.items())[:_MAX_METADATA])


def _is_short(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or (isinstance(value, str) and len(value) <= _MAX_VALUE)


def _spelled(value: Any, name: str = "") -> Iterator[str]:
    """Yield a line for each value; a list of plain values is one line."""
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
