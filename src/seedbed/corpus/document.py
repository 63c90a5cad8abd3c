"""The unit of a corpus: one document, as a line of JSON, and chunks of lines on their way between two stages.

A document carries what later stages need to treat it fairly: its source (for mixing), its group (documents of one
group never stand on both sides of a split), its kind (code is not reflowed) and its licence. It carries no time and
no absolute path, so that equal input gives equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import zstandard

Split = Literal["train", "valid", "test"]
Kind = Literal["prose", "code"]
Line = bytes  # inside CorpusDocument the name `bytes` is a property
SPLITS: tuple[Split, ...] = get_args(Split)
CHUNK_CHARS = 4_000_000
"""Characters of text in one chunk: what a worker holds at a time."""


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One text and where it comes from."""

    text: str
    source: str  # the name of its source
    path: str  # from the source's root; ``file.jsonl#12`` for a record, ``file.txt#2`` for a part of a long file
    group: str  # documents of one group always land in the same split
    kind: Kind  # code keeps its layout
    licence: str  # as stated by the record or its source

    @property
    def bytes(self) -> int:
        """Return the length of the text in UTF-8 bytes."""
        return len(self.text) if self.text.isascii() else len(self.text.encode())

    def to_line(self) -> Line:
        """Return one line of JSON, UTF-8, newline included."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def from_line(line: Line) -> CorpusDocument:
    """Return the document of a line written by :meth:`CorpusDocument.to_line`."""
    return CorpusDocument(**json.loads(line))


def write_chunk(path: Path, documents: Iterable[CorpusDocument]) -> None:
    """Store some documents, compressed fast."""
    lines = b"".join(document.to_line() for document in documents)
    path.write_bytes(zstandard.ZstdCompressor(level=1).compress(lines))


def chunk_lines(path: Path) -> list[bytes]:
    """Return the lines of a chunk, each with its newline."""
    return zstandard.ZstdDecompressor().decompress(path.read_bytes()).splitlines(keepends=True)


def read_chunk(path: Path) -> Iterator[CorpusDocument]:
    """Yield the documents of a chunk."""
    return map(from_line, chunk_lines(path))
