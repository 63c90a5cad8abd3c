"""Limits of reading foreign files: sizes, pages, members, seconds and memory.

Every cap holds for what is really there, not only for what a file says of itself. They bound the harm that a damaged
or hostile file can do; they do not judge what it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from seedbed.core.config import setting
from seedbed.core.errors import CapacityError, DataError


@dataclass(frozen=True)
class Limits:
    """The caps of reading. The first four are about any file, the others about the kinds they name."""

    file_bytes: int = setting(100_000_000, "largest file that is parsed as a whole", unit="bytes", at_least=1)
    text_bytes: int = setting(4_000_000_000, "largest plain text, table or JSON Lines file", unit="bytes", at_least=1)
    part_chars: int = setting(
        1_000_000, "a plain text longer than this is read in parts", unit="characters", at_least=2
    )
    text_chars: int = setting(20_000_000, "most text that one parsed file may give", unit="characters", at_least=1)
    pages: int = setting(10_000, "most pages of a PDF", at_least=1)
    members: int = setting(5_000, "most files inside a zip container such as docx", at_least=1)
    unpacked_bytes: int = setting(500_000_000, "most that a compressed file may unpack to", unit="bytes", at_least=1)
    ratio: int = setting(100, "most that a zip container over 10 MB may be larger unpacked", unit="x", at_least=1)
    seconds: float = setting(60.0, "most time for parsing one file", unit="s", at_least=0.1)
    memory_bytes: int = setting(2_000_000_000, "most address space of the parsing process", unit="bytes", at_least=1)
    rows: int = setting(100_000, "most rows of a database query", at_least=1)
    query_seconds: float = setting(30.0, "most time for a database query", unit="s", at_least=0.1)
    download_bytes: int = setting(50_000_000, "largest page that is fetched", unit="bytes", at_least=1)
    download_seconds: float = setting(30.0, "most time for fetching a page, redirects included", unit="s", at_least=0.1)

    @property
    def output_bytes(self) -> int:
        """Return the most that the parsing process may answer: JSON needs up to six bytes a character, and marks."""
        return 8 * self.text_chars + 10_000_000


def unreadable(source: str, why: str, fix: str = "open it in its own program and save it again") -> DataError:
    """Return the error of a file that is damaged, locked or of no known kind."""
    return DataError(f"{source} cannot be read", why=why, fix=fix)


def too_large(source: str, why: str, knob_name: str) -> CapacityError:
    """Return the error of a file that breaks a limit."""
    option = f"--set {knob_name}=NUMBER, for a corpus --set limits.{knob_name}=NUMBER"
    fix = f"if you trust it, raise the limit `{knob_name}` ({option}); otherwise leave it out"
    return CapacityError(f"{source} is too large to read", why=why, fix=fix)


def read_whole(stream: BinaryIO, source: str, limits: Limits) -> bytes:
    """Return all bytes of a stream. Raises CapacityError: they are more than ``limits.file_bytes``."""
    data = stream.read(limits.file_bytes + 1)
    if len(data) > limits.file_bytes:
        raise too_large(source, f"it has more than {limits.file_bytes:,} bytes", "file_bytes")
    return data
