"""Sources to a stored corpus: read, clean, protect, deduplicate, split, write.

Three passes over the text, each through chunk files in a working folder beside the library, so memory depends on the
number of documents (about 60 bytes each) and workers, not on the amount of text: (1) read and clean, counting lines;
(2) boilerplate, personal data, hashes and signatures; then duplicates and splits are decided on the columns of
hashes alone; (3) kept lines are copied into their split's file. The result does not depend on the number of workers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seedbed.core.artifacts import Artifact, Draft, Library
from seedbed.core.config import to_dict
from seedbed.core.errors import DataError
from seedbed.core.files import disk_errors, scratch_directory, write_json
from seedbed.core.machine import cores
from seedbed.core.progress import ProgressBar, progress, say, track
from seedbed.corpus.boilerplate import Boilerplate, LineCounts
from seedbed.corpus.comparison import Comparison, ComparisonWriter
from seedbed.corpus.document import SPLITS, Kind, Split, chunk_lines, from_line
from seedbed.corpus.duplicates import Flags, repeated
from seedbed.corpus.minhash import Keys
from seedbed.corpus.parallel import Workers
from seedbed.corpus.reading import KINDS, FileRecord, ReadResult, plan, read_task, take_lines, text_hashes
from seedbed.corpus.refining import RefineResult, refine_chunk
from seedbed.corpus.report import MAX_NAMED, SourceTotals, Totals, report
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.splitting import CUT, GroupCutter, assign_splits, check_sizes, join_groups
from seedbed.corpus.store import REPORT, SOURCES, split_writers
from seedbed.documents.file_walk import left_lines, source_files

_SMALL = 4_000_000
"""Less input than this (bytes) is worked on in this process: starting others would take longer."""


def build_corpus(
    settings: CorpusSettings,
    library: Library,
    name: str | None = None,
    workers: int | None = None,
    *,
    source: Mapping[str, Any] | None = None,
) -> Artifact:
    """Build a corpus and store it.

    Args:
        name: a reference to move to it.
        workers: processes; every core when not given.
        source: where the files came from, for the manifest.

    Raises:
        NotFoundError: a source's path does not exist.
        DataError: a source has no readable text, nothing is left after cleaning, or it is too little to split.
        CapacityError: the disk is full, or a worker was killed.
    """
    left = Counter[str]()
    sizes = {source.name: sum(_bytes(source, left)) for source in settings.sources}
    for line in left_lines(left):
        say(line)
    count = workers if workers is not None else (1 if sum(sizes.values()) < _SMALL else cores())
    stated = {} if source is None else {"source": dict(source)}
    with (
        library.writing("corpus", config=to_dict(settings) | stated, name=name) as draft,
        disk_errors(library.root),
        scratch_directory(library.root / "building") as folder,
        Workers(count) as pool,
    ):
        _Build(settings, pool, folder, draft).run(sizes)
    return draft.result


def _bytes(source: SourceSettings, left: Counter[str]) -> Iterator[int]:
    """Yield the bytes of each file; count what is left out, by kind."""
    for file in source_files(source.path, source.rules, lambda entry: left.update([entry.reason])):
        if file.location.is_file():
            yield file.location.stat().st_size


@dataclass
class _Columns:
    """Columns of all documents: a value each, in order; and the chunks that hold them."""

    hashes: Keys
    groups: Keys
    sizes: NDArray[np.int64]
    chunks: list[tuple[str, Path]]  # source and file

    @classmethod
    def gather(cls, results: list[tuple[str, RefineResult]]) -> _Columns:
        return cls(
            np.concatenate([result.hashes for _, result in results]),
            np.concatenate([result.groups for _, result in results]),
            np.concatenate([result.sizes for _, result in results]),
            [(source, result.chunk) for source, result in results],
        )

    def lines(self) -> Iterator[tuple[str, bytes]]:
        """Yield the source and the line of every document; each chunk is deleted when it has been read."""
        for source, chunk in track(self.chunks, "writing", len(self.chunks), "chunks"):
            yield from ((source, line) for line in chunk_lines(chunk))
            chunk.unlink()


@dataclass
class _Build:
    """One corpus being built."""

    settings: CorpusSettings
    pool: Workers
    folder: Path
    draft: Draft
    totals: Totals = field(init=False)

    def __post_init__(self) -> None:
        self.totals = Totals({source.name: SourceTotals(source) for source in self.settings.sources})

    def run(self, sizes: dict[str, int]) -> None:
        """Run all passes; the draft holds the corpus afterwards."""
        refined: list[tuple[str, RefineResult]] = []
        near = self.settings.near_duplicate
        with ComparisonWriter(self.folder, near) if near > 0 else nullcontext() as writer:
            for source, result in self._refined(sizes):
                if writer is not None:
                    writer.add(result.signatures, result.samples)
                result.forget_comparison()  # it is on disk
                refined.append((source, result))
        index = None if writer is None else writer.comparison
        columns = _Columns.gather(refined)
        kept, groups = self._deduplicate(columns, index)
        splits = assign_splits(groups, columns.sizes, kept, self.settings)
        self.totals.leaks = check_leaks(columns.hashes, index, kept, splits)
        self._write(columns, kept, splits)
        self._describe()

    def _refined(self, sizes: dict[str, int]) -> Iterator[tuple[str, RefineResult]]:
        """Run passes one and two, source by source."""
        with (self.draft.path / SOURCES).open("w", encoding="utf-8") as records:
            for source in self.settings.sources:
                chunks: list[Path] = []
                with progress(f"reading {source.name}", sizes[source.name] / 1e6, "MB") as bar:
                    for result in self._read(source, bar):
                        records.writelines(json.dumps(r.to_json(), ensure_ascii=False) + "\n" for r in result.files)
                        chunks += result.chunks
                self._check_read(source)
                share = self.settings.boilerplate_share
                frequent = ((kind, _frequent(chunks, kind, share)) for kind in (KINDS if share > 0 else ()))
                boilerplate = {kind: found for kind, found in frequent if found is not None}
                refine = partial(refine_chunk, boilerplate=boilerplate, settings=self.settings)
                for refined in track(self.pool.map(refine, chunks), f"refining {source.name}", len(chunks), "chunks"):
                    self.totals.counts += refined.counts
                    self.totals.counts["bytes after masking"] += int(refined.sizes.sum())
                    self.totals.findings.add(refined.findings)
                    self.totals.sources[source.name].licences += refined.licences
                    yield source.name, refined

    def _read(self, source: SourceSettings, bar: ProgressBar) -> Iterator[ReadResult]:
        for result in self.pool.map(
            read_task, plan(source, source_files(source.path, source.rules), self.folder, self.settings.limits)
        ):
            self.totals.counts += result.counts
            for record in result.files:
                self._count_file(record)
                bar.advance(record.bytes / 1e6)
            yield result

    def _count_file(self, record: FileRecord) -> None:
        source = self.totals.sources[record.source]
        source.files += 1
        source.raw_bytes += record.bytes
        source.bad_lines += record.bad_line_count
        source.skipped += bool(record.skipped)
        reasons = [(record.path, record.skipped)] if record.skipped else []
        reasons += [(f"{record.path}, line {number}", why) for number, why in record.bad_lines]
        self.totals.note(self.totals.skipped, record.source, reasons)
        self.totals.note(self.totals.partly, record.source, [(record.path, why) for why in record.partly])
        if record.decoded:
            self.totals.encodings[str(record.decoded["encoding"])] += 1
            if len(self.totals.decoded) < MAX_NAMED:
                self.totals.decoded.append({"path": record.path, **record.decoded})

    def _check_read(self, source: SourceSettings) -> None:
        totals = self.totals.sources[source.name]
        if totals.skipped == totals.files:
            reasons = [row for row in self.totals.skipped if row["source"] == source.name][:3]
            raise DataError(
                f"no text could be read from {source.path}",
                why=f"{totals.files} files skipped: " + "; ".join(f"{row['path']}: {row['why']}" for row in reasons),
                fix="give text, PDF, Word, mail, tables, HTML, source code or JSON",
            )

    def _deduplicate(self, columns: _Columns, index: Comparison | None) -> tuple[Flags, Keys]:
        """Return a flag for every document that is kept, and each one's group."""
        counts, groups = self.totals.counts, columns.groups
        kept = ~repeated(columns.hashes)
        counts["documents distinct"], counts["bytes distinct"] = int(kept.sum()), int(columns.sizes[kept].sum())
        if not kept.any():
            raise DataError(
                "no documents are left after cleaning",
                why=f"{counts['documents too short']} of {counts['documents read']} were shorter than "
                f"{self.settings.min_chars} characters",
                fix="give more text, or a lower min_chars",
            )
        if index is not None:
            with progress("comparing documents"):
                if self.settings.near_duplicate_action == "remove":
                    kept, counts["documents that stood in another removed"] = index.remove(kept)
                else:
                    groups = join_groups(groups, index.clusters(kept))
        counts["documents kept"], counts["bytes kept"] = int(kept.sum()), int(columns.sizes[kept].sum())
        return kept, groups

    def _write(self, columns: _Columns, kept: Flags, splits: NDArray[np.int8]) -> None:
        """Run pass three: write the kept lines into their split's file."""
        cutter = GroupCutter(int(columns.sizes[kept & (splits == CUT)].sum()), self.settings)
        rows = zip(columns.lines(), kept, splits, columns.sizes, strict=True)
        with split_writers(self.draft.path) as files:
            for (source, line), keep, split, size in rows:
                totals = self.totals.sources[source]
                for name, text, length in _pieces(line, int(split), int(size), cutter) if keep else ():
                    files[name].write(text)
                    totals.documents[name] += 1
                    totals.bytes[name] += length
        check_sizes({split: self.totals.bytes(split) for split in SPLITS}, self.settings)

    def _describe(self) -> None:
        """Write the report, and fill in the manifest."""
        found = report(self.totals, self.settings)
        write_json(self.draft.path / REPORT, found)
        licences = {licence for source in self.totals.sources.values() for licence in source.licences}
        self.draft.licence = " AND ".join(sorted(licences))
        self.draft.metrics = {
            "documents": {split: row["documents"] for split, row in found["splits"].items()},
            "bytes": {split: row["bytes"] for split, row in found["splits"].items()},
            "skipped_files": sum(source.skipped for source in self.totals.sources.values()),
        }


def _pieces(line: bytes, split: int, size: int, cutter: GroupCutter) -> list[tuple[Split, bytes, int]]:
    """Return split, line and bytes of text of a document, or of each piece of one that is cut."""
    if split != CUT:
        return [(SPLITS[split], line, size)]
    return [(name, piece.to_line(), piece.bytes) for name, piece in cutter.cut(from_line(line))]


def _frequent(chunks: Sequence[Path], kind: Kind, share: float) -> Boilerplate | None:
    """Return the boilerplate of one kind of documents; a text that stands there several times counts once."""
    counts, at = LineCounts(), 0
    first = ~repeated(text_hashes(chunks, kind))
    for lines, lengths in take_lines(chunks, kind):
        counted = first[at : at + len(lengths)]
        counts.add(lines[np.repeat(counted, lengths)], int(counted.sum()))
        at += len(lengths)
    return counts.frequent(share)


def check_leaks(
    hashes: Keys, index: Comparison | None, kept: Flags, splits: NDArray[np.int8]
) -> dict[str, int | float | None]:
    """Look for duplicates between the splits once more, on the outcome; DataError where there are some.

    Documents of a group that is cut are not compared: the pieces are one text.
    """
    present = kept & (splits != CUT)
    order = np.argsort(hashes[present], kind="stable")
    same = hashes[present][order][1:] == hashes[present][order][:-1]
    exact = int((same & (splits[present][order][1:] != splits[present][order][:-1])).sum())
    near = index.across(present, splits) if index is not None else 0
    if exact or near:
        raise DataError(
            "the splits are not independent",
            why=f"{exact} exact and {near} near-duplicates of training text would be in validation or testing",
            fix="report this with the settings of the corpus; near_duplicate_action = 'remove' avoids it",
        )
    threshold = index.near.threshold if index is not None else None
    return {"documents": int(present.sum()), "threshold": threshold, "exact": exact, "near": near}
