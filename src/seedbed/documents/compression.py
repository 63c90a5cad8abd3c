"""Files as streams of plain bytes: .gz, .xz and .zst are opened, and a cut-off stream is an error.

Memory stays flat whatever a file unpacks to. gzip's reader sees to that; lzma's keeps as much as a file asks for, and
zstandard's stops silently at a missing end, so a small one for both stands here.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tempfile
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import BinaryIO, Protocol, cast

import zstandard

from seedbed.core.files import NOT_REGULAR, open_regular
from seedbed.documents.limits import Limits, too_large, unreadable

COMPRESSED = (".gz", ".xz", ".zst")
_BLOCK = 1 << 18
_PIECE = 1 << 9
"""Bytes of Zstandard that are unpacked at once, to 16 MB at most: its library has no other bound. Four bytes of it may
stand for 128 kB, so a block of the usual size would be gigabytes."""
_MEMORY = 1 << 27
"""Bytes of the text before that a frame may refer to, which are kept; twice those of ``xz -9``."""
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


def kind_of(path: Path) -> str:
    """Return the suffix that says what is inside, in lower case: ``.txt`` for ``a.txt.gz``."""
    named = _plain(path)
    return (named.with_suffix("") if named.suffix in COMPRESSED else named).suffix


def is_compressed(path: Path) -> bool:
    """Return whether the name says that the file is compressed."""
    return _plain(path).suffix in COMPRESSED


def _plain(path: Path) -> PurePath:
    """Return a file's name in one spelling: small, ordinary letters, without the dots and spaces that may end it.

    Every question about a suffix is asked of this, so that no spelling of one changes how a file is read.
    """
    name = unicodedata.normalize("NFKC", path.name).casefold()
    return PurePath("".join(one for one in name if unicodedata.category(one)[0] != "C").rstrip(". ") or "-")


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed.

    Raises:
        OSError: it cannot be opened. Reading raises EOFError, OSError, lzma.LZMAError or zstandard.ZstdError where
            the compressed data is damaged.
    """
    raw = open_regular(path)
    match _plain(path).suffix:
        case ".gz":
            return _Unpacked(gzip.GzipFile(fileobj=raw), raw)
        case ".xz":
            return io.BufferedReader(_Frames(raw, _xz_stream, padding=b"\0"), _BLOCK)
        case ".zst":
            zstd = zstandard.ZstdDecompressor(max_window_size=_MEMORY)
            return io.BufferedReader(_Frames(raw, zstd.decompressobj), _BLOCK)
        case _:
            return raw


@contextmanager
def damage_reported(source: str) -> Iterator[None]:
    """Raise DataError for a file that cannot be opened, is damaged, or is nested too deeply for its reader."""
    try:
        yield
    except _DAMAGE as error:
        if "memory" in str(error).lower():  # both libraries name it, and no other error of theirs does
            why = f"unpacking it would keep more than {_MEMORY:,} bytes of text at hand, as no usual setting asks for"
            raise unreadable(source, why, "pack it again with the program's usual settings") from error
        reason = error.strerror.lower() if isinstance(error, OSError) and error.strerror else f"it is damaged: {error}"
        fix = "save what it gives in a file" if reason == NOT_REGULAR else "check the file and its permissions"
        raise unreadable(source, reason, fix) from error
    except RecursionError as error:
        raise unreadable(source, "its parts are nested too deeply") from error


def open_seekable(path: Path, source: str, limits: Limits, scratch: Path | None = None) -> BinaryIO:
    """Open a file, or a temporary one (in the folder ``scratch``, or the system's) with what it unpacks to.

    Raises CapacityError: it unpacks to more than ``limits.unpacked_bytes``.
    """
    if not is_compressed(path):
        return open_regular(path)
    unpacked = cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115 (the caller closes it)
    size = 0
    with open_bytes(path) as stream:
        while block := stream.read(_BLOCK):
            size += len(block)
            if size > limits.unpacked_bytes:
                raise too_large(source, f"it unpacks to more than {limits.unpacked_bytes:,} bytes", "unpacked_bytes")
            unpacked.write(block)
    unpacked.seek(0)
    return unpacked


class _Frame(Protocol):
    """One frame being unpacked, by either library."""

    @property
    def eof(self) -> bool:
        """Return whether its end has been seen."""

    @property
    def unused_data(self) -> bytes:
        """Return what was given beyond its end."""

    def decompress(self, data: bytes, /) -> bytes:
        """Return what the next bytes stand for."""


def _xz_stream() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_AUTO, memlimit=_MEMORY)


class _Unpacked(io.BufferedReader):
    """A decompressed stream that closes the file below it, too."""

    def __init__(self, stream: gzip.GzipFile, raw: BinaryIO) -> None:
        super().__init__(cast(io.RawIOBase, stream), _BLOCK)
        self._file = raw

    def close(self) -> None:
        super().close()
        self._file.close()


class _Frames(io.RawIOBase):
    """Frames of Zstandard or streams of xz, one after another; raises EOFError where the last one is cut off."""

    def __init__(self, raw: BinaryIO, begin: Callable[[], _Frame], padding: bytes = b"") -> None:
        self._raw, self._begin, self._padding = raw, begin, padding
        self._frame = begin()
        self._fed = False  # whether the present frame has seen a byte
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            block = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame, self._fed = self._begin(), False
            block = block or self._raw.read(_PIECE)
            if not block:
                if self._fed:
                    raise EOFError("the compressed data is cut off")
                return 0
            if not self._fed and self._padding:
                block = block.lstrip(self._padding)
            if block:
                self._fed = True
                self._ready = memoryview(self._frame.decompress(block))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
