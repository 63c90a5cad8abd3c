"""The first stage, in worker processes: raw files to plain documents in chunks, and what each file held.

Only small things travel between processes; documents and line hashes go through files. A file that turns out to be
damaged half-way leaves nothing behind, so a document is never half of a text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from seedbed.core.errors import SeedbedError
from seedbed.corpus.boilerplate import Hashes, document_lines, hash64
from seedbed.corpus.clean import clean_text
from seedbed.corpus.document import CHUNK_CHARS, CorpusDocument, Kind, write_chunk
from seedbed.corpus.readers import read_documents
from seedbed.corpus.settings import LIMITS, SourceSettings
from seedbed.documents.compression import is_compressed
from seedbed.documents.document import Scalar
from seedbed.documents.file_walk import SourceFile
from seedbed.documents.limits import Limits
from seedbed.documents.readers import Skipped
from seedbed.documents.reading import fingerprint

_BATCH_BYTES, _BATCH_FILES = 2_000_000, 256
_COMPRESSION = 4  # a compressed file counts as so many times its size
_MAX_BAD_LINES = 20
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True)
class ReadTask:
    """Some files of one source; ``stem`` begins the names of the chunks they become."""

    source: SourceSettings
    files: tuple[SourceFile, ...]
    stem: Path
    limits: Limits = LIMITS


@dataclass
class FileRecord:
    """One raw file: its bytes and hash, whether it was read, and in which encoding. A line of ``sources.jsonl``."""

    source: str
    path: str
    bytes: int
    sha256: str
    documents: int = 0
    skipped: str = ""
    bad_lines: list[tuple[int, str]] = field(default_factory=list)
    bad_line_count: int = 0
    partly: list[str] = field(default_factory=list)
    decoded: dict[str, Scalar] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the record without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in ("", [], {}, 0) or key == "bytes"}

    def note(self, skipped: Skipped) -> None:
        """Keep why the file, or a line of it, was skipped, or which part of it was not read."""
        if skipped.partly:
            self.partly.append(skipped.reason)
            return
        if skipped.source == self.path:
            self.skipped = skipped.reason
            return
        self.bad_line_count += 1
        if len(self.bad_lines) < _MAX_BAD_LINES:
            self.bad_lines.append((int(skipped.source.rpartition("#")[2]), skipped.reason))


@dataclass
class ReadResult:
    """The chunks, file records and counts of one task."""

    chunks: list[Path] = field(default_factory=list)
    files: list[FileRecord] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def plan(
    source: SourceSettings, files: Iterable[SourceFile], folder: Path, limits: Limits = LIMITS
) -> Iterator[ReadTask]:
    """Yield tasks of about the same size; a large file is one of its own."""
    batch: list[SourceFile] = []
    size = number = 0
    for file in files:
        cost = _size(file) * (_COMPRESSION if is_compressed(file.location) else 1)
        if batch and (size + cost > _BATCH_BYTES or len(batch) == _BATCH_FILES):
            yield ReadTask(source, tuple(batch), folder / f"{source.name}-{number:06}", limits)
            batch, size, number = [], 0, number + 1
        batch.append(file)
        size += cost
    if batch:
        yield ReadTask(source, tuple(batch), folder / f"{source.name}-{number:06}", limits)


def _size(file: SourceFile) -> int:
    try:
        return file.location.stat().st_size
    except OSError:  # a broken link; reading it will say so
        return 0


def read_task(task: ReadTask) -> ReadResult:
    """Read, clean and spool the files of a task."""
    result, spool = ReadResult(), _Spool(task.stem)
    for file in task.files:
        record = _record(file, task.source, task.limits)
        if not record.skipped:
            _read_file(file, task, record, spool, result.counts)
        result.files.append(record)
    spool.flush()
    result.chunks = spool.chunks
    return result


def _record(file: SourceFile, source: SourceSettings, limits: Limits) -> FileRecord:
    record = FileRecord(source.name, file.path, _size(file), "")
    if file.location.is_dir():
        record.skipped = "a folder that may not be opened"
        return record
    try:
        record.sha256, record.bytes = fingerprint(file.location, file.path, limits, encoding=source.encoding)
    except SeedbedError as error:
        record.skipped = Skipped.because(file.path, error).reason
    return record


def _read_file(file: SourceFile, task: ReadTask, record: FileRecord, spool: _Spool, counts: Counter[str]) -> None:
    mine = Counter[str]()
    spool.begin()
    try:
        for document in read_documents(file, task.source, task.limits, spool.folder, record.decoded):
            if isinstance(document, Skipped):
                record.note(document)
                continue
            mine["documents read"] += 1
            mine["bytes read"] += len(document.text.encode("utf-8", "replace"))
            spool.add(replace(document, text=clean_text(document.text, document.kind, mine)))
    except SeedbedError as error:
        record.skipped = Skipped.because(file.path, error).reason
        spool.undo()
        return
    counts += mine
    record.documents = mine["documents read"]
    if not record.documents:
        record.skipped = record.skipped or "there is no text in it"


class _Spool:
    """Chunks of documents in order; what came since ``begin`` can be taken back."""

    def __init__(self, stem: Path) -> None:
        self.chunks: list[Path] = []
        self.folder, self._stem = stem.parent, stem
        self._waiting: list[CorpusDocument] = []
        self._chars = self._mark_waiting = self._mark_chunks = 0

    def begin(self) -> None:
        self._mark_waiting, self._mark_chunks = len(self._waiting), len(self.chunks)

    def add(self, document: CorpusDocument) -> None:
        self._waiting.append(document)
        self._chars += len(document.text)
        if self._chars >= CHUNK_CHARS:
            self._flush_before_mark()
            self.flush()

    def _flush_before_mark(self) -> None:
        """Give the documents of earlier files a chunk of their own, so that undoing spares them."""
        if self._mark_waiting:
            earlier, self._waiting = self._waiting[: self._mark_waiting], self._waiting[self._mark_waiting :]
            self._write(earlier)
            self._mark_waiting, self._mark_chunks = 0, len(self.chunks)

    def flush(self) -> None:
        if self._waiting:
            self._write(self._waiting)
        self._waiting, self._chars = [], 0

    def undo(self) -> None:
        for chunk in self.chunks[self._mark_chunks :]:
            for path in chunk.parent.glob(f"{chunk.name}*"):
                path.unlink()
        del self.chunks[self._mark_chunks :]
        del self._waiting[self._mark_waiting :]
        self._chars = sum(len(document.text) for document in self._waiting)

    def _write(self, documents: list[CorpusDocument]) -> None:
        chunk = self._stem.with_name(f"{self._stem.name}-{len(self.chunks):06}")
        write_chunk(chunk, documents)
        for kind in KINDS:
            texts = [document.text for document in documents if document.kind == kind]
            if texts:
                lines = [document_lines(text) for text in texts]
                counts = np.array([len(some) for some in lines])
                np.savez(lines_file(chunk, kind), lines=np.concatenate(lines), counts=counts, texts=hash64(texts))
        self.chunks.append(chunk)


def lines_file(chunk: Path, kind: Kind) -> Path:
    """Return the file that holds the line hashes of a chunk's documents of one kind."""
    return chunk.with_name(f"{chunk.name}.{kind}.npz")


def text_hashes(chunks: Iterable[Path], kind: Kind) -> Hashes:
    """Return the hashes of the texts of one kind in chunks, in order."""
    found = [np.empty(0, np.uint64)]
    for path in (lines_file(chunk, kind) for chunk in chunks):
        if path.exists():
            with np.load(path) as stored:
                found.append(stored["texts"])
    return np.concatenate(found)


def take_lines(chunks: Iterable[Path], kind: Kind) -> Iterator[tuple[Hashes, NDArray[np.int64]]]:
    """Yield the line hashes of each chunk, and how many of them each document has; their files are deleted."""
    for path in (lines_file(chunk, kind) for chunk in chunks):
        if path.exists():
            with np.load(path) as stored:
                yield stored["lines"], stored["counts"]
            path.unlink()
