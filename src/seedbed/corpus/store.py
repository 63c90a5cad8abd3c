"""A corpus on disk: three compressed files of documents, the list of raw files, and the report.

``train.jsonl.zst``, ``valid.jsonl.zst`` and ``test.jsonl.zst`` hold a document a line; ``sources.jsonl`` holds every
raw file with its hash, so that one changed byte changes the corpus's id even where cleaning removes that byte;
``report.json`` holds what was counted. No file holds a time or an absolute path.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from seedbed.core.artifacts import Artifact
from seedbed.core.errors import NotFoundError
from seedbed.core.files import read_json
from seedbed.corpus.document import SPLITS, CorpusDocument, Split, from_line

SOURCES, REPORT = "sources.jsonl", "report.json"
_LEVEL = 6


def split_file(split: Split) -> str:
    """Return the name of the file that holds a split."""
    return f"{split}.jsonl.zst"


@contextmanager
def split_writers(folder: Path) -> Iterator[dict[Split, BinaryIO]]:
    """Open a compressed file in a folder for the documents of each split."""
    with ExitStack() as stack:
        files = {}
        for split in SPLITS:
            compressor = zstandard.ZstdCompressor(level=_LEVEL)  # one has room for one file at a time
            files[split] = stack.enter_context(zstandard.open(folder / split_file(split), "wb", compressor))
        yield files


@dataclass(frozen=True)
class Corpus:
    """A stored corpus, read as a stream."""

    artifact: Artifact

    @classmethod
    def open(cls, artifact: Artifact) -> Corpus:
        """Open a corpus: NotFoundError for another kind of artifact, CorruptError where a file lost its hash."""
        if artifact.kind != "corpus":
            raise NotFoundError(
                f"{artifact.id[:12]} is not a corpus",
                why=f"it is a {artifact.kind}",
                fix="name a corpus (`seedbed corpus ls`)",
            )
        artifact.verify()
        return cls(artifact)

    @cached_property
    def report(self) -> Mapping[str, Any]:
        """Return the counts of its building: steps, findings, sources, splits, mix (``docs/corpus.md``)."""
        report: Mapping[str, Any] = read_json(self.artifact.file(REPORT))
        return report

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the names of its sources, in the order of the settings."""
        return tuple(row["source"] for row in self.report["mix"])

    @property
    def weights(self) -> dict[str, float]:
        """Return, for every source, the times its text is seen for each time text of weight 1 is."""
        return {row["source"]: float(row["weight"]) for row in self.report["mix"]}

    def documents(self, split: Split) -> Iterator[CorpusDocument]:
        """Yield the documents of a split, in the order of the sources' files."""
        with zstandard.open(self.artifact.file(split_file(split))) as stream:
            yield from map(from_line, io.BufferedReader(stream))

    def raw_files(self) -> Iterator[Mapping[str, Any]]:
        """Yield every raw file: source, path, bytes, sha256, and documents or why it was skipped."""
        with self.artifact.file(SOURCES).open(encoding="utf-8") as file:
            yield from map(json.loads, file)
