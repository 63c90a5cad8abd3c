"""Reading the header of a GGUF file value by value, never past the end of the file or of what a header may have."""

from __future__ import annotations

import struct

from seedbed.core.errors import CorruptError
from seedbed.formats.mapped_file import MappedFile

HEADER_LIMIT = 100_000_000
"""Bytes before the tensors; the largest vocabularies take 20 MB."""


class Cursor:
    """A position in a file, read from front to back and never past the file's end or the limit."""

    def __init__(self, file: MappedFile, place: int = 0) -> None:
        self.file, self.place = file, place
        self._end = min(file.size, HEADER_LIMIT)

    def at(self, place: int) -> Cursor:
        """Return another cursor in the same file."""
        return Cursor(self.file, place)

    def skip(self, count: int) -> int:
        """Skip ``count`` bytes; return where they began."""
        if count > self._end - self.place:
            raise self.corrupt(
                "it ends early" if self.file.size <= HEADER_LIMIT else "its header does not end",
                f"byte {self.place} begins a value of {count} bytes, of {self._end} that there are or may be",
            )
        start, self.place = self.place, self.place + count
        return start

    def take(self, count: int) -> bytes:
        """Read the next bytes."""
        start = self.skip(count)
        return self.file.bytes(start, start + count)

    def number(self, code: str) -> int:
        """Read the next integer."""
        found: int = struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]
        return found

    def count(self, limit: int, what: str) -> int:
        """Read the next 64-bit count."""
        found = self.number("Q")
        if found > limit:
            raise self.corrupt(f"{found} {what} are too many", f"at most {limit} are read")
        return found

    def text(self) -> str:
        """Read the next string."""
        found = self.take(self.number("Q"))
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self.corrupt("a text in it is not UTF-8", str(error)) from error

    def corrupt(self, what: str, why: str) -> CorruptError:
        """Return an error about this file."""
        return CorruptError(
            f"{self.file.path} cannot be read: {what}", why=why, fix="fetch or copy the file again, or convert it anew"
        )
