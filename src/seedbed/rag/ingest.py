"""Ingestion of documents into a collection: changed files are read, cut and stored, then chunks get their vectors.

Whether a file has changed is told by the SHA-256 of its bytes, a page by that of its text. A folder is synchronized:
files that went from it go from the collection; one that can no longer be read keeps what it had. Each file is one
transaction, so that a process that is killed leaves whole documents; they can be found by words, and the next call
gives them the vectors they lack. TF-IDF is fitted anew when the collection has grown by a quarter.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from seedbed.core.errors import DataError, NotFoundError, SeedbedError
from seedbed.core.files import sha256_text
from seedbed.core.progress import progress
from seedbed.documents.document import Chunk, Document, Scalar
from seedbed.documents.encoding import check_encoding, encoding_notes
from seedbed.documents.file_walk import STDLIB, USUAL, OnLeft, WalkRules, folder_files
from seedbed.documents.limits import Limits
from seedbed.documents.readers import Skipped
from seedbed.documents.reading import fingerprint, has_encoding, is_address, name_of, read
from seedbed.search.contracts import Embedder
from seedbed.search.store import Entry, Store
from seedbed.vectors.lsa import Latent

FIT_TEXTS = 20_000
"""TF-IDF learns from at most so many chunks, taken evenly."""
_FEW = 100  # of so few chunks anything new is much
_HELD = 64_000_000  # a file of more bytes is not held in memory, but read while it is being stored
Splitter = Callable[[Document], Sequence[Chunk]]


@dataclass
class IngestReport:
    """The outcome for each file and address that was looked at.

    Attributes:
        partly: what was not read of files that were read.
        decoded: how those that are no clean UTF-8 were decoded, as in the metadata of their documents.
    """

    read: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    partly: list[Skipped] = field(default_factory=list)
    left_out: list[Skipped] = field(default_factory=list)
    decoded: list[dict[str, Scalar]] = field(default_factory=list)


def read_changed(
    store: Store,
    split: Splitter,
    sources: Sequence[str],
    limits: Limits | None = None,
    allow_private: bool = False,
    rules: WalkRules = USUAL,
    encoding: str = "",
) -> IngestReport:
    """Keep the documents of what is new or has changed, and forget what went from folders or is left out of them now.

    A text that was read in another encoding than the one given is read again. Sources and errors are those of
    :meth:`seedbed.rag.collection.Collection.add`.
    """
    check_paths(sources)
    left: list[Skipped] = []
    wanted = list(dict.fromkeys(_wanted(sources, rules, left.append)))
    known, adder = store.origins(), _Adder(store, split, limits or Limits(), allow_private, encoding)
    with progress("reading", len(wanted), "files") as bar:
        for source in wanted:
            adder.take(source, known.get(_origin(source)))
            bar.advance()
    adder.report.left_out = left
    report, there = adder.report, {_origin(source) for source in wanted}
    folders = [name_of(_absolute(source)) for source in sources if _is_path(source) and _absolute(source).is_dir()]
    gone = [one for one in known if one not in there and any(_inside(one, folder) for folder in folders)]
    store.drop(gone)
    report.deleted += gone
    return report


def check_paths(sources: Sequence[str]) -> None:
    """Raise NotFoundError for a path that does not exist."""
    for source in sources:
        if _is_path(source) and not _absolute(source).exists():
            raise NotFoundError(f"there is no file {source}", why="no such file or folder", fix="check the path")


def complete(store: Store, embedder: Embedder) -> None:
    """Give every chunk that has no vector one."""
    with progress("embedding", store.pending(), "chunks") as bar:
        for count in store.complete(embedder.embed_documents):
            bar.advance(count)


def replace(store: Store, embedder: Embedder) -> None:
    """Give every chunk a vector of another embedder; the vectors there are stay until all are made."""
    with progress("embedding", store.count() - store.staged(), "chunks") as bar:
        for count in store.stage(embedder.name, embedder.size, embedder.embed_documents):
            bar.advance(count)


def complete_tfidf(store: Store) -> None:
    """Give every chunk a vector by TF-IDF, fitted first where it is not, or too much is new since it was.

    It is one transaction: no chunk is ever compared with one of another fit.
    """
    if not store.pending():
        return
    with store.transaction():
        learnt = store.learnt
        fitted = Latent.from_bytes(learnt) if learnt else None
        if fitted is None or store.new_since(fitted.last_row) > (fitted.texts // 4 if fitted.texts >= _FEW else 0):
            fitted = Latent.fit(store.sample(FIT_TEXTS), texts=store.count(), last_row=store.last_row())
            store.remake(fitted.name, fitted.size, fitted.to_bytes())
        complete(store, fitted)


def origins_of(store: Store, source: str) -> list[str]:
    """Return the origins that a name means: an origin, a document's, or all of a folder; a path may be relative."""
    known = store.origins()
    for name in names_of(source):
        is_query = name.startswith("sql:")  # whose rows are origins; see ``sql_ingest.py``
        found = [one for one in known if one == name or _inside(one, name) or (is_query and one.startswith(f"{name}#"))]
        found = found or [one.origin for one in store.documents() if one.source == name]
        if found:
            return found
    return []


def names_of(source: str) -> list[str]:
    """Return the meanings of a name: the name itself, or a path from the present folder."""
    return [source, name_of(_absolute(source))]


class _Adder:
    """Reader of files into a store, with a report of each."""

    def __init__(self, store: Store, split: Splitter, limits: Limits, allow_private: bool, encoding: str) -> None:
        self.report = IngestReport()
        self._store, self._split, self._limits, self._allow_private = store, split, limits, allow_private
        self._encoding = check_encoding(encoding) if encoding else ""
        self._decoded = {one.origin: dict(one.decoded) for one in store.documents()} if encoding else {}

    def take(self, source: str | Path, known: str | None) -> None:
        """Read one file or address whose hash was ``known`` when it was read last."""
        origin, report = _origin(source), self.report
        if known is not None and isinstance(source, Path) and not self._is_right(source):
            known = ""  # as if it had changed
        try:
            digest, documents, skips = self._look(source, known)
            if digest == known:
                report.unchanged.append(origin)
                return
            entries = (Entry(one.source, self._split(one), one.title) for one in self._noted(origin, documents))
            count = self._store.put(origin, digest, entries)
        except (_Unreadable, DataError) as error:  # DataError: a text that the store cannot keep
            cause = error.cause if isinstance(error, _Unreadable) else error
            report.skipped.append(Skipped.because(origin, cause))
            return
        report.skipped += (one for one in skips if not one.partly)
        report.partly += (one for one in skips if one.partly)
        if count or known is not None:
            (report.read if known is None else report.updated if count else report.deleted).append(origin)

    def _look(self, source: str | Path, known: str | None) -> tuple[str, Iterable[Document], list[Skipped]]:
        """Return the hash and the documents of a source, which are still to be read where they are many."""
        skips: list[Skipped] = []
        reading = partial(
            read,
            source,
            self._limits,
            on_skip=skips.append,
            allow_private=self._allow_private,
            encoding=self._encoding,
        )
        if isinstance(source, Path):
            with _reading():
                digest, size = fingerprint(source, name_of(source), self._limits, encoding=self._encoding)
            documents = _guarded(reading) if digest != known else iter(())
            return digest, (documents if size > _HELD else list(documents)), skips
        held = list(_guarded(reading))
        return sha256_text("\0".join(text for one in held for text in (one.source, one.text))), held, skips

    def _is_right(self, source: Path) -> bool:
        """Return whether a file was read in the encoding that is given now, or needs none."""
        if not self._encoding or not has_encoding(source):
            return True
        wanted = {"encoding": self._encoding, "encoding_by": "given"}
        return wanted.items() <= self._decoded.get(_origin(source), {}).items()

    def _noted(self, origin: str, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield documents; the report gets what the first one tells of its encoding."""
        for number, one in enumerate(documents):
            if number == 0 and (notes := encoding_notes(one.metadata)):
                self.report.decoded.append({"source": origin, **notes})
            yield one


class _Unreadable(Exception):
    """An error of a reader, told apart from one of the store."""

    def __init__(self, cause: SeedbedError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except SeedbedError as error:
        raise _Unreadable(error) from error


def _guarded(reading: Callable[[], Iterator[Document]]) -> Iterator[Document]:
    documents = reading()
    while True:
        with _reading():
            one = next(documents, None)
        if one is None:
            return
        yield one


def _wanted(sources: Sequence[str], rules: WalkRules, on_left: OnLeft) -> Iterator[str | Path]:
    """Yield addresses, and the files that there are."""
    for source in sources:
        if not _is_path(source):
            yield source
        elif _absolute(source).is_dir():
            yield from (file.location for file in folder_files(_absolute(source), rules, on_left))
        else:
            yield _absolute(source)


def _is_path(source: str) -> bool:
    return source != STDLIB and not is_address(source)


def _absolute(source: str) -> Path:
    """Return an absolute path without resolving links: a file keeps the name that its user gave it."""
    return Path(os.path.abspath(Path(source).expanduser()))  # noqa: PTH100 (Path.resolve follows links)


def _origin(source: str | Path) -> str:
    return name_of(source) if isinstance(source, Path) else source


def _inside(origin: str, folder: str) -> bool:
    return origin.startswith(folder.rstrip(os.sep) + os.sep)
