"""Documents of a file, a folder or a web page, whatever its kind, under limits.

A file's reader is chosen by its suffix, else by how the file begins; ``.gz``, ``.xz`` and ``.zst`` are opened. In a
folder, a file that cannot be read is reported and skipped. Archives are not unpacked. Collections and corpora read
through this file, so that a model is trained on the same text that answers come from.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import BinaryIO, cast

from seedbed.core.errors import NotFoundError, SeedbedError
from seedbed.core.files import open_regular
from seedbed.core.progress import say
from seedbed.documents.compression import damage_reported, is_compressed, kind_of, open_seekable
from seedbed.documents.document import Document, clean, tidy
from seedbed.documents.encoding import as_utf8, binary, is_text, looks_binary
from seedbed.documents.file_walk import STDLIB, USUAL, WalkRules, folder_files, left_lines
from seedbed.documents.formats import FORMATS, ISOLATED, MAGIC, REFUSED, TEXT, TYPES, WHOLE
from seedbed.documents.isolation import is_simple, read_isolated
from seedbed.documents.limits import Limits, too_large, unreadable
from seedbed.documents.readers import Item, Reader, Skipped

_HEAD = 4096  # bytes of a file's beginning, to tell its format
_BLOCK, _SAMPLE = 1 << 20, 1 << 16  # bytes of it that tell whether it is text, as they do when it is read
_BEGINNINGS = (
    (re.compile(rb"<!doctype html|<html", re.IGNORECASE), ".html"),
    (re.compile(rb"<\?xml|<svg\b|<!DOCTYPE svg"), ".xml"),
    (re.compile(rb"From \S+ .*\d\d:\d\d.*\r?\n[!-9;-~]+:"), ".mbox"),
    (re.compile(rb"(?:[!-9;-~]+:.*\r?\n(?:[ \t].*\r?\n)*)*?MIME-Version:", re.IGNORECASE), ".eml"),
)
"""Beginnings of files without a suffix, or with one of no known kind, and the suffix of their format."""
OnSkip = Callable[[Skipped], None]
IN_PROCESS_BYTES = 256_000
"""A page, mail or JSON file larger than this is parsed in a process of its own, like everything from the web and
everything that is not simple (see ``isolation``)."""


def say_skipped(skipped: Skipped) -> None:
    """Write a line to standard error."""
    say(f"{'read in part' if skipped.partly else 'skipped'} {skipped.source}: {skipped.reason}")


def read(
    source: str | Path,
    limits: Limits | None = None,
    *,
    on_skip: OnSkip = say_skipped,
    allow_private: bool = False,
    rules: WalkRules = USUAL,
    encoding: str = "",
) -> Iterator[Document]:
    """Yield the documents of a file, a folder, a web page (http or https), or ``stdlib``, Python's own documentation.

    A folder's bad files go to ``on_skip``, and so does the number of those that ``rules`` leave out; so do bad records
    of a file, a file without text, and what a file that was read has lost. Documents that a file gave before an error
    do not count. What is not UTF-8 says in its metadata how it was decoded; see ``encoding.py``.

    Args:
        encoding: that of every text file; found for each when not given.

    Raises:
        NotFoundError: there is no such file.
        DataError: it is damaged, locked with a password, or of no known kind.
        CapacityError: it breaks a limit.
        UsageError: an address that is not allowed, or a library that is not installed.
    """
    for item in _items(source, limits or Limits(), allow_private, rules, encoding):
        if isinstance(item, Skipped):
            on_skip(item)
        else:
            yield item


def _items(source: str | Path, limits: Limits, allow_private: bool, rules: WalkRules, encoding: str) -> Iterator[Item]:
    if source == STDLIB:
        from seedbed.documents.python_modules import read_stdlib

        return _with_text(read_stdlib(), STDLIB)
    if is_address(source):
        return _with_text(_page(str(source), limits, allow_private, encoding), str(source))
    if Path(source).is_dir():
        return _folder(Path(source), limits, rules, encoding)
    return read_file(Path(source), name_of(source), limits, encoding=encoding)


def read_file(
    path: Path, source: str, limits: Limits, scratch: Path | None = None, *, encoding: str = ""
) -> Iterator[Item]:
    """Yield the documents of one file, and what was skipped: bad records, or the file itself if it has no text.

    Args:
        source: the name that the documents get; parts and records are ``source#2`` …
        scratch: the folder for temporary files; the system's when not given.
        encoding: that of a text file; found when not given.

    Raises as :func:`read`.
    """
    return _with_text(_file(path, source, limits, scratch, encoding), source)


def has_encoding(path: Path) -> bool:
    """Return whether a file is text in some encoding by its name, rather than a container."""
    return FORMATS.get(kind_of(path), "text:read").partition(":")[0] in TEXT


def is_address(source: str | Path) -> bool:
    """Return whether a source is an address on the web rather than a path."""
    return isinstance(source, str) and "://" in source


def name_of(path: str | Path) -> str:
    """Return the source that documents of a file have: its path, as text even where the name is none."""
    return clean(os.fsencode(path).decode("utf-8", "replace"))


def _folder(folder: Path, limits: Limits, rules: WalkRules, encoding: str) -> Iterator[Item]:
    left = Counter[str]()
    for file in folder_files(folder, rules, lambda entry: left.update([entry.reason])):
        name = name_of(file.location)
        try:
            yield from read_file(file.location, name, limits, encoding=encoding)
        except SeedbedError as error:
            yield Skipped.because(name, error)
    yield from (Skipped(name_of(folder), line) for line in left_lines(left))


def _with_text(items: Iterable[Item], source: str) -> Iterator[Item]:
    empty = True
    for item in items:
        if isinstance(item, Skipped):
            empty &= item.partly or item.source != source
            yield item
        elif item.text.strip():
            empty = False
            yield tidy(item)
    if empty:
        yield Skipped(source, "there is no text in it")


def fingerprint(path: Path, source: str, limits: Limits, *, encoding: str = "") -> tuple[str, int]:
    """Return the SHA-256 and the size of a file that can be read, as far as its type, size and beginning tell.

    They are looked at first, so that films, images of disks and holes of terabytes are refused unread. Bytes are
    counted, too: the system states none for some files without an end.

    Raises as :func:`read`.
    """
    digest, size = hashlib.sha256(), 0
    with damage_reported(source), open_regular(path) as file:
        most, setting = _most(file, path, source, limits, encoding)
        if (stated := os.fstat(file.fileno()).st_size) > most:
            raise too_large(source, f"it has {stated:,} bytes, more than {most:,}", setting)
        file.seek(0)
        while block := file.read(_BLOCK):
            size += len(block)
            if size > most:
                raise too_large(source, f"it has more than {most:,} bytes", setting)
            digest.update(block)
    return digest.hexdigest(), size


def _most(file: BinaryIO, path: Path, source: str, limits: Limits, encoding: str) -> tuple[int, str]:
    """Return the most bytes that a file may have by its kind, and that limit's name; refuse what is of no kind."""
    if is_compressed(path):
        return limits.unpacked_bytes, "unpacked_bytes"
    block = file.read(_BLOCK)
    name = _format(block[:_HEAD], kind_of(path), source)
    if name.partition(":")[0] in TEXT and not encoding and not is_text(block[:_SAMPLE]) and looks_binary(block):
        raise binary(source)
    return (limits.file_bytes, "file_bytes") if _is_whole(name) else (limits.text_bytes, "text_bytes")


def _file(path: Path, source: str, limits: Limits, scratch: Path | None, encoding: str) -> Iterator[Item]:
    if not path.exists():
        raise NotFoundError(f"there is no file {source}", why="no such file or folder", fix="check the path")
    with damage_reported(source), open_seekable(path, source, limits, scratch) as stream:
        name = _format(stream.read(_HEAD), kind_of(path), source)
        yield from read_stream(stream, name, source, limits, encoding=encoding, scratch=scratch)


def _format(head: bytes, kind: str, source: str) -> str:
    """Return the format of a file by its suffix, else by its beginning. Raises DataError: it is of no kind we read."""
    name = FORMATS.get(kind)
    if name is None or name.startswith("text:"):
        _refuse_known(head, source, kind)
    return name or _by_content(head, source)


def _is_whole(format_name: str) -> bool:
    """Return whether a format cannot be read in parts."""
    return format_name.partition(":")[0] in WHOLE or format_name == "records:read_json"


def _refuse_known(head: bytes, source: str, suffix: str) -> None:
    """Raise DataError, with the way out, for a kind of file that is known but not read."""
    found = next((kind for magic, kind in MAGIC if head.startswith(magic)), "")
    is_tar = head[257:262] == b"ustar"
    is_named = suffix in REFUSED and (not head or looks_binary(head))
    kind = suffix if is_named else ".tar" if is_tar else found
    if kind:
        what, _, fix = REFUSED[kind].partition("; ")
        raise unreadable(source, f"it is {what}, which is not read", fix)


def _by_content(head: bytes, source: str) -> str:
    """Return the format of a file that begins so. Raises DataError: it is binary, and of no known kind."""
    if head.startswith(b"%PDF-"):
        return FORMATS[".pdf"]
    if head.startswith(b"PK\x03\x04") and (b"word/" in head or b"[Content_Types].xml" in head):
        return FORMATS[".docx"]
    if not is_text(head):
        raise unreadable(source, "binary, and of no known kind", "convert it to text, PDF or docx")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return FORMATS[next((kind for pattern, kind in _BEGINNINGS if pattern.match(start)), ".txt")]


def read_stream(
    stream: BinaryIO,
    format_name: str,
    source: str,
    limits: Limits,
    *,
    trusted: bool = True,
    declared: str = "",
    encoding: str = "",
    scratch: Path | None = None,
) -> Iterator[Item]:
    """Yield the items of an open real file; what is complicated, large or not trusted is parsed in its own process.

    Args:
        declared: the encoding that HTTP declares.
        encoding: the encoding that the user names.
        scratch: the folder for temporary files; the system's when not given.
    """
    kind = format_name.partition(":")[0]
    size = stream.seek(0, os.SEEK_END)
    if _is_whole(format_name) and size > limits.file_bytes:
        raise too_large(source, f"it has more than {limits.file_bytes:,} bytes", "file_bytes")
    if kind not in TEXT:
        yield from _parsed(stream, format_name, source, limits, trusted)
        return
    text, notes = as_utf8(stream, source, limits, declared, encoding, scratch)
    with text:
        for item in _parsed(text, format_name, source, limits, trusted):
            if isinstance(item, Document):
                item = replace(item, metadata={**item.metadata, **notes})
            yield item


def _parsed(stream: BinaryIO, format_name: str, source: str, limits: Limits, trusted: bool) -> Iterator[Item]:
    kind, size = format_name.partition(":")[0], stream.seek(0, os.SEEK_END)
    stream.seek(0)
    small = not _is_whole(format_name) or (size <= IN_PROCESS_BYTES and is_simple(format_name, stream.read()))
    stream.seek(0)
    if kind in ISOLATED or not trusted or not small:
        yield from read_isolated(format_name, stream, source, limits)
    else:
        reader: Reader = resolve_name(f"seedbed.documents.readers.{format_name}")
        yield from reader(stream, source, limits)


def _page(url: str, limits: Limits, allow_private: bool, encoding: str) -> Iterator[Item]:
    from seedbed.documents.fetch import fetch  # httpx: not before a page is read

    page = fetch(url, limits, allow_private=allow_private)
    suffix = TYPES.get(page.content_type, ".txt" if page.content_type.startswith("text/") else "")
    _refuse_known(page.data[:_HEAD] if suffix not in REFUSED else b"", url, suffix)
    if not suffix:
        raise unreadable(url, f"it is {page.content_type}, which is not read", "download it and convert it to text")
    with tempfile.TemporaryFile() as stream:
        stream.write(page.data)
        stream.flush()
        yield from read_stream(
            cast(BinaryIO, stream),
            FORMATS[suffix],
            page.url,
            limits,
            trusted=False,
            declared=page.charset,
            encoding=encoding,
        )
