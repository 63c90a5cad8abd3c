"""Files as streams of plain bytes: .gz, .xz and .zst are opened, and a cut-off stream is an error.

gzip and lzma raise at a missing end; zstandard's own reader stops silently there, so a small one stands here.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from seedbed.core.files import NOT_REGULAR, open_regular
from seedbed.documents.limits import Limits, too_large, unreadable

COMPRESSED = (".gz", ".xz", ".zst")
_BLOCK = 1 << 18
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError)


def kind_of(path: Path) -> str:
    """Return the suffix that says what is inside, in lower case: ``.txt`` for ``a.txt.gz``."""
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED else path
    return inner.suffix.lower()


def is_compressed(path: Path) -> bool:
    """Return whether the name says that the file is compressed."""
    return path.suffix.lower() in COMPRESSED


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading, decompressed.

    Raises:
        OSError: it cannot be opened. Reading raises EOFError, OSError, lzma.LZMAError or zstandard.ZstdError where
            the compressed data is damaged.
    """
    raw = open_regular(path)
    match path.suffix.lower():
        case ".gz":
            return _Unpacked(gzip.GzipFile(fileobj=raw), raw)
        case ".xz":
            return _Unpacked(lzma.LZMAFile(raw), raw)
        case ".zst":
            return io.BufferedReader(_ZstdReader(raw), _BLOCK)
        case _:
            return raw


@contextmanager
def damage_reported(source: str) -> Iterator[None]:
    """Raise DataError for a file that cannot be opened, is damaged, or is nested too deeply for its reader."""
    try:
        yield
    except _DAMAGE as error:
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


class _Unpacked(io.BufferedReader):
    """A decompressed stream that closes the file below it, too."""

    def __init__(self, stream: gzip.GzipFile | lzma.LZMAFile, raw: BinaryIO) -> None:
        super().__init__(cast(io.RawIOBase, stream), _BLOCK)
        self._file = raw

    def close(self) -> None:
        super().close()
        self._file.close()


class _ZstdReader(io.RawIOBase):
    """Frames of Zstandard, one after another; raises EOFError where the last one is cut off."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._context = zstandard.ZstdDecompressor(max_window_size=2**27)
        self._frame = self._context.decompressobj()
        self._fed = False  # whether the present frame has seen a byte
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            block = self._frame.unused_data if self._frame.eof else self._raw.read(_BLOCK)
            if self._frame.eof:
                self._frame, self._fed = self._context.decompressobj(), False
                block = block or self._raw.read(_BLOCK)
            if not block:
                if self._fed:
                    raise EOFError("the compressed data is cut off")
                return 0
            self._fed = True
            self._ready = memoryview(self._frame.decompress(block))
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
