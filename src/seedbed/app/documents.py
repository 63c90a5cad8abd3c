"""Documents added to a collection; a new collection in which nothing was read is not kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any

from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, NotFoundError
from seedbed.rag.collection import Collection, names, remove
from seedbed.rag.ingest import IngestReport


@contextmanager
def adding(library: Library, name: str, settings: Mapping[str, Any]) -> Iterator[Collection]:
    """Open a collection, or make it; where the block leaves a new one without documents, it is removed."""
    there, empty = name in names(library), False
    try:
        with closing(Collection.create(library, name, settings)) as collection:
            try:
                yield collection
                collection.check_there()
            finally:
                empty = not collection.store.documents()
    finally:
        if empty and not there:
            with suppress(NotFoundError):  # somebody else has removed it
                remove(library, name)


def check_read(report: IngestReport, name: str, is_empty: bool) -> None:
    """Raise DataError where nothing was read: all was skipped, or there was nothing and the collection is empty."""
    if report.read or report.updated or report.unchanged or report.deleted or not (report.skipped or is_empty):
        return
    if report.skipped:
        first, more = report.skipped[0], len(report.skipped) - 1
        why = f"skipped {first.source}: {first.reason}" + (f", and {more:,} more" if more else "")
        fix = "add what can be read, or convert these first"
    else:
        why, fix = f"there is no document in what was named, and {name} holds none", "name files, or folders with files"
    raise DataError("nothing was read", why=why, fix=fix)
