"""Documents on their way between two stages: files of a few megabytes, compressed fast, deleted after use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard

from seedbed.corpus.document import CorpusDocument, from_line

CHUNK_CHARS = 4_000_000
"""Characters of text in one chunk: what a worker holds at a time."""


def write_chunk(path: Path, documents: Iterable[CorpusDocument]) -> None:
    """Store some documents."""
    lines = b"".join(document.to_line() for document in documents)
    path.write_bytes(zstandard.ZstdCompressor(level=1).compress(lines))


def chunk_lines(path: Path) -> list[bytes]:
    """Return the lines of a chunk, each with its newline."""
    return zstandard.ZstdDecompressor().decompress(path.read_bytes()).splitlines(keepends=True)


def read_chunk(path: Path) -> Iterator[CorpusDocument]:
    """Yield the documents of a chunk."""
    return map(from_line, chunk_lines(path))
