"""Files into documents, one reader a format, as streams.

Plain text, Markdown and source code are one document a file; a file longer than ``PART_CHARS`` becomes parts cut
between paragraphs, so that a novel or a dump of any size passes through a bounded amount of memory. JSON Lines give
a document a record. Office formats and PDF are left out: they are binary here.
"""

from __future__ import annotations

import io
import json
import lzma
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import zstandard

from seedbed.corpus.document import Document, Kind
from seedbed.corpus.settings import SourceSettings
from seedbed.documents.compression import kind_of, open_bytes
from seedbed.documents.encoding import detect_encoding
from seedbed.documents.file_walk import STDLIB, SourceFile
from seedbed.documents.formats import CODE
from seedbed.documents.html_text import html_text
from seedbed.documents.python_modules import module_documents
from seedbed.documents.text_spans import cut_place

PART_CHARS = 1_000_000
"""A text longer than this is cut into parts (about a megabyte)."""
MAX_WHOLE = 32_000_000
"""Bytes of the largest web page or JSON record that is read; they cannot be read in parts."""

_HTML = frozenset({".html", ".htm", ".xhtml"})
_RECORDS = frozenset({".jsonl", ".ndjson"})
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError, UnicodeError, SyntaxError)


class Unreadable(Exception):
    """A file that is skipped; the text says why."""


@dataclass
class Reading:
    """What a reader noticed besides the documents: the lines of a JSON Lines file that were no records."""

    bad_lines: list[tuple[int, str]] = field(default_factory=list)


def read_documents(file: SourceFile, source: SourceSettings, reading: Reading) -> Iterator[Document]:
    """The documents of one file.

    Raises:
        Unreadable: it is binary, damaged, or may not be opened. Documents that came before do not count.
    """
    try:
        kind = kind_of(file.location)
        if source.path == STDLIB:
            for found in module_documents(file.location.read_bytes(), file.path):
                yield Document(found.text, source.name, found.path, found.group, found.kind, source.licence)
        elif kind in _RECORDS:
            yield from _records(file, source, reading)
        elif kind in _HTML:
            yield _page(file, source)
        else:
            yield from _parts(file, source, "code" if kind in CODE else "prose")
    except _DAMAGE as error:
        raise Unreadable(_reason(error)) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"damaged: {error}" if str(error) else "damaged"


def _encoding(file: SourceFile) -> str:
    with open_bytes(file.location) as stream:
        encoding = detect_encoding(stream)
    if encoding is None:
        raise Unreadable("binary")
    return encoding


def _parts(file: SourceFile, source: SourceSettings, kind: Kind) -> Iterator[Document]:
    encoding = _encoding(file)
    with open_bytes(file.location) as stream:
        for number, text in enumerate(_cut_stream(stream, encoding), 1):
            path = file.path if number == 1 else f"{file.path}#{number}"
            yield Document(text, source.name, path, file.path, kind, source.licence)


def _cut_stream(stream: BinaryIO, encoding: str) -> Iterator[str]:
    """Texts of at most PART_CHARS characters; newlines become ``\\n``."""
    wrapped = io.TextIOWrapper(stream, encoding=encoding, errors="replace")
    kept = ""
    while block := wrapped.read(PART_CHARS):
        kept += block
        if len(kept) > PART_CHARS:
            at = cut_place(kept, PART_CHARS)
            yield kept[:at]
            kept = kept[at:]
    if kept:
        yield kept


def _page(file: SourceFile, source: SourceSettings) -> Document:
    encoding = _encoding(file)
    with open_bytes(file.location) as stream:
        data = stream.read(MAX_WHOLE + 1)
    if len(data) > MAX_WHOLE:
        raise Unreadable(f"a web page of more than {MAX_WHOLE // 10**6} MB")
    text = html_text(data.decode(encoding, "replace"))
    return Document(text, source.name, file.path, file.path, "prose", source.licence)


def _records(file: SourceFile, source: SourceSettings, reading: Reading) -> Iterator[Document]:
    with open_bytes(file.location) as stream:
        for number, line in enumerate(_lines(stream), 1):
            if not line.strip():
                continue
            try:
                yield _record(line, f"{file.path}#{number}", source)
            except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or no text in it
                reading.bad_lines.append((number, str(error)))


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Lines; of one that is too long only the beginning is kept, which is no JSON and is reported as such."""
    while line := stream.readline(MAX_WHOLE):
        yield line
        while len(line) == MAX_WHOLE and not line.endswith(b"\n"):
            line = stream.readline(MAX_WHOLE)


def _record(line: bytes, path: str, source: SourceSettings) -> Document:
    record = json.loads(line.decode("utf-8-sig"))
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    text = _record_text(record)
    title = record.get("title")
    if isinstance(title, str) and title and not text.lstrip("# \n").startswith(title):
        text = f"# {title}\n\n{text}"
    licence = _first_string(record, ("licence", "license")) or source.licence
    group = _first_string(record, ("path", "url", "id")) or path
    return Document(text, source.name, path, group, "prose", licence)


def _record_text(record: Mapping[str, Any]) -> str:
    text = _first_string(record, ("text", "content", "body"))
    if text is not None:
        return text
    messages = record.get("messages")
    if isinstance(messages, list) and messages:
        return "\n\n".join(_message(message) for message in messages) + "\n"
    raise ValueError("no text, content, body or messages in it")


def _message(message: object) -> str:
    match message:
        case {"role": str(role), "content": str(content)}:
            return f"{role.capitalize()}: {content}"
        case _:
            raise ValueError("a message without role and content")


def _first_string(record: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((record[key] for key in keys if isinstance(record.get(key), str) and record[key]), None)
