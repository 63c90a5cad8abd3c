"""Readers: files of one kind into documents. Each is a function with the same face.

A reader gets a stream of bytes that can be rewound, the name that its documents shall have as their source, and the
limits. It gives documents, and in between what it had to skip. ``formats`` says which reader a file has, ``isolation``
runs those that parse complicated formats in a process of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from seedbed.core.errors import SeedbedError
from seedbed.documents.document import Document
from seedbed.documents.limits import Limits


@dataclass(frozen=True)
class Skipped:
    """Something that was not read: a file, or a record in it (``data.jsonl#12``), and why.

    Attributes:
        partly: the file was read, but not all of it; the reason says what was left.
    """

    source: str
    reason: str
    partly: bool = False

    @classmethod
    def because(cls, source: str, error: SeedbedError) -> Skipped:
        """Return what was skipped for an error: why, and the way out."""
        return cls(source, f"{error.why}; {error.fix}" if error.fix else error.why)


Item = Document | Skipped
Reader = Callable[[BinaryIO, str, Limits], Iterator[Item]]
"""Yields the documents of a stream in one format.

Raises SeedbedError: DataError for what is damaged, locked or not of the format, CapacityError for what breaks a limit,
UsageError for a library that is not installed. Documents that came before an error do not count.
"""
