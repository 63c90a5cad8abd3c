"""Read a file, a folder or a web page into documents, whatever its kind, under limits.

A file's reader is chosen by its suffix, else by how the file begins; ``.gz``, ``.xz`` and ``.zst`` are opened. A folder
is read in the order of its names; hidden files and caches are left out without a word, links to folders are not
followed (they may go in circles), and a file that cannot be read is reported and skipped. Archives are not unpacked.
"""

from __future__ import annotations

import lzma
import os
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from seedbed.core.errors import NotFoundError, SeedbedError
from seedbed.core.progress import say
from seedbed.documents import formats
from seedbed.documents.compression import is_compressed, kind_of, open_bytes
from seedbed.documents.document import Document
from seedbed.documents.fetch import fetch
from seedbed.documents.file_walk import STDLIB
from seedbed.documents.isolation import read_isolated
from seedbed.documents.limits import Limits, too_large, unreadable
from seedbed.documents.readers import Item, Skipped, load
from seedbed.documents.readers.stdlib import read_stdlib
from seedbed.documents.readers.tidy import clean, tidy
from seedbed.documents.readers.trust import is_simple_mail, is_simple_page

OnSkip = Callable[[Skipped], None]
IN_PROCESS_BYTES = 256_000
"""A page, mail or JSON file larger than this is parsed in a process of its own, like everything from the web and
everything that ``trust`` finds not to be simple."""
_IGNORED = {"__pycache__", "node_modules"}
_BLOCK = 1 << 20
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


def say_skipped(skipped: Skipped) -> None:
    """A line on standard error."""
    say(f"skipped {skipped.source}: {skipped.reason}")


def read(
    source: str | Path, limits: Limits | None = None, *, on_skip: OnSkip = say_skipped, allow_private: bool = False
) -> Iterator[Document]:
    """The documents of a file, a folder, a web page (http or https), or ``stdlib``, this Python's own documentation.

    A folder's bad files go to ``on_skip``; so do bad records of a file, and a file without text. Documents that a file
    gave before an error do not count.

    Raises:
        NotFoundError: there is no such file.
        DataError: it is damaged, locked with a password, or of no known kind.
        CapacityError: it breaks a limit.
        UsageError: an address that is not allowed, or a library that is not installed.
    """
    limits = limits or Limits()
    if source == STDLIB:
        yield from _deliver(read_stdlib(), STDLIB, on_skip)
    elif is_address(source):
        yield from _deliver(_page(str(source), limits, allow_private), str(source), on_skip)
    elif Path(source).is_dir():
        yield from _folder(Path(source), limits, on_skip)
    else:
        yield from _deliver(_file(Path(source), limits), name_of(source), on_skip)


def files(folder: Path) -> Iterator[Path]:
    """The files of a folder and the folders in it, in the order of their names."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _is_ignored(name))
        for name in sorted(names):
            if not _is_ignored(name):
                yield Path(place, name)


def is_address(source: str | Path) -> bool:
    """Whether a source is an address on the web rather than a path."""
    return isinstance(source, str) and "://" in source


def name_of(path: str | Path) -> str:
    """The source that documents of a file have: its path, as text even where the name is none."""
    return clean(os.fsencode(path).decode("utf-8", "replace"))


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED


def _folder(folder: Path, limits: Limits, on_skip: OnSkip) -> Iterator[Document]:
    for path in files(folder):
        name = name_of(path)
        try:
            yield from _deliver(_file(path, limits), name, on_skip)
        except SeedbedError as error:
            on_skip(Skipped(name, error.why))


def _deliver(items: Iterable[Item], source: str, on_skip: OnSkip) -> Iterator[Document]:
    empty = True
    for item in items:
        if isinstance(item, Skipped):
            on_skip(item)
        elif item.text.strip():
            empty = False
            yield tidy(item)
    if empty:
        on_skip(Skipped(source, "there is no text in it"))


def _file(path: Path, limits: Limits) -> Iterator[Item]:
    source = name_of(path)
    if not path.is_file():
        if path.exists():
            raise unreadable(source, "it is no regular file", "give a file or a folder")
        raise NotFoundError(f"there is no file {source}", why="no such file or folder", fix="check the path")
    try:
        with _opened(path, source, limits) as stream:
            name = formats.format_of(kind_of(path), stream.read(formats.HEAD_BYTES))
            if name is None:
                kind = f"files ending in {path.suffix} are" if path.suffix else "it is"
                raise unreadable(source, f"{kind} binary and of no known kind", "convert it to text, PDF or docx")
            yield from read_stream(stream, name, source, limits)
    except _DAMAGE as error:
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else f"it is damaged: {error}"
        raise unreadable(source, reason, "check the file and its permissions") from error
    except RecursionError as error:
        raise unreadable(source, "its parts are nested too deeply") from error


def read_stream(
    stream: BinaryIO, format_name: str, source: str, limits: Limits, *, trusted: bool = True
) -> Iterator[Item]:
    """The items of an open real file; what is complicated, large or not trusted is parsed in a process of its own."""
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    whole = formats.is_whole(format_name)
    if whole and size > limits.file_bytes:
        raise too_large(source, f"it has more than {limits.file_bytes:,} bytes", "file_bytes")
    small = not whole or (size <= IN_PROCESS_BYTES and _is_simple(stream, format_name))
    if formats.is_isolated(format_name) or not trusted or not small:
        yield from read_isolated(format_name, stream, source, limits)
    else:
        yield from load(format_name)(stream, source, limits)


def _is_simple(stream: BinaryIO, format_name: str) -> bool:
    """Whether parsing a small file here cannot take long; the stream is rewound."""
    check = {"html:read": is_simple_page, "mail:read": is_simple_mail}.get(format_name)
    simple = check is None or check(stream.read())
    stream.seek(0)
    return simple


def _opened(path: Path, source: str, limits: Limits) -> BinaryIO:
    """The file, or a temporary one with what it unpacks to."""
    if not is_compressed(path):
        return path.open("rb")
    unpacked = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 (the caller closes it)
    size = 0
    with open_bytes(path) as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > limits.unpacked_bytes:
                raise too_large(source, f"it unpacks to more than {limits.unpacked_bytes:,} bytes", "unpacked_bytes")
            unpacked.write(block)
    unpacked.seek(0)
    return unpacked


def _page(url: str, limits: Limits, allow_private: bool) -> Iterator[Item]:
    page = fetch(url, limits, allow_private=allow_private)
    name = formats.format_of_type(page.content_type)
    if name is None:
        raise unreadable(url, f"it is {page.content_type}, which is not read", "download it and convert it to text")
    with tempfile.TemporaryFile() as stream:
        stream.write(page.data)
        stream.flush()
        yield from read_stream(cast(BinaryIO, stream), name, page.url, limits, trusted=False)
