"""Documents of a corpus from files: the readers of :mod:`seedbed.documents`, and what a corpus adds to them.

A corpus adds the kind (prose or code), the group and the licence. Of ``stdlib`` it takes every module's page and its
source; of a JSON Lines record its title, licence and group as the record states them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seedbed.corpus.document import CorpusDocument, Kind
from seedbed.corpus.settings import LIMITS, SourceSettings
from seedbed.documents.compression import damage_reported, kind_of
from seedbed.documents.document import Document, Scalar
from seedbed.documents.encoding import encoding_notes
from seedbed.documents.file_walk import STDLIB, SourceFile
from seedbed.documents.formats import CODE, RECORDS
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.python_modules import module_documents
from seedbed.documents.readers import Skipped
from seedbed.documents.readers.records import PROSE_CHARS
from seedbed.documents.reading import read_file


def read_documents(
    file: SourceFile,
    source: SourceSettings,
    limits: Limits = LIMITS,
    scratch: Path | None = None,
    notes: dict[str, Scalar] | None = None,
) -> Iterator[CorpusDocument | Skipped]:
    """Yield the documents of one file, and what was skipped in it.

    Args:
        scratch: the folder for temporary files; the system's when not given.
        notes: is given what is to be told of the file's encoding.

    Raises:
        SeedbedError: it is of no known kind, damaged, may not be opened, or breaks a limit. Documents that came before
            do not count.
    """
    if source.path == STDLIB:
        yield from _module(file, source)
        return
    kind = kind_of(file.location)
    for item in read_file(file.location, file.path, limits, scratch, encoding=source.encoding):
        if isinstance(item, Skipped):
            yield item
            continue
        if notes is not None:
            notes.update(encoding_notes(item.metadata))
        if kind in RECORDS:
            yield _record(item, source)
        else:
            found: Kind = "code" if kind in CODE else "prose"
            yield CorpusDocument(item.text, source.name, item.source, file.path, found, source.licence)


def _module(file: SourceFile, source: SourceSettings) -> Iterator[CorpusDocument]:
    try:
        with damage_reported(file.path):
            for found in module_documents(file.location.read_bytes(), file.path):
                yield CorpusDocument(found.text, source.name, found.path, found.group, found.kind, source.licence)
    except (UnicodeError, SyntaxError) as error:
        raise unreadable(file.path, f"it is damaged: {error}") from error


def _record(found: Document, source: SourceSettings) -> CorpusDocument:
    """Return a record's document, which begins with its title."""
    prose = found.metadata.get(PROSE_CHARS)
    text = found.text[:prose] if isinstance(prose, int) else found.text
    if found.title and not text.lstrip("# \n").startswith(found.title):
        text = f"# {found.title}\n\n{text}"
    group = _stated(found, "path", "url", "id") or found.source
    licence = _stated(found, "licence", "license") or source.licence
    return CorpusDocument(text, source.name, found.source, group, "prose", licence)


def _stated(found: Document, *keys: str) -> str:
    """Return the first text that a record has under one of these keys."""
    return next((value for key in keys if isinstance(value := found.metadata.get(key), str) and value), "")
