"""Rows of a database as documents of a collection: each row one document, kept up to date as files are.

A row is named ``sql:DATABASE/QUERY#ID``: the database without user or password, eight digits of the query's SHA-256
(two queries of one database do not mix; another wording is another query), and the row's value in a column that its
user names, or where none is named, twelve digits of the SHA-256 of what the row says. What has the same hash as before
is not cut or embedded again; rows that the query no longer gives go from the collection, but only when it was read to
its end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TypeGuard

from seedbed.core.errors import UsageError
from seedbed.core.files import sha256_text
from seedbed.core.progress import progress
from seedbed.documents.document import Document, Scalar, tidy
from seedbed.documents.limits import Limits
from seedbed.documents.readers import Item, Skipped
from seedbed.documents.readers.sql import SqlRow, name_of, select
from seedbed.documents.readers.table import row_text
from seedbed.rag.ingest import IngestReport, Splitter
from seedbed.search.store import Entry, Store

_MAX_VALUE = 500  # characters of a text that is kept as metadata, to filter by


def read_rows(
    store: Store, split: Splitter, database: str, query: str, column: str = "", limits: Limits | None = None
) -> IngestReport:
    """Keep the rows that are new or have changed, and forget those that went.

    Args:
        column: has another value in each row, by which it is known again; empty: a row that changes is a new one.

    Raises:
        UsageError: no such column, or as ``readers.sql.select``, as the other errors. What was read
            before an error is kept.
    """
    report, name, there = IngestReport(), origin_of(database, query), set[str]()
    known = {one: digest for one, digest in store.origins().items() if one.startswith(f"{name}#")}
    with progress("reading", unit="rows") as bar:
        for item in documents(database, query, name, column, limits or Limits()):
            bar.advance()
            if isinstance(item, Skipped):
                report.skipped.append(item)
            elif item.source in there:
                report.skipped.append(Skipped(item.source, "another row has the same id"))
            else:
                there.add(item.source)
                _keep(store, split, item, known.get(item.source), report)
    whole = not any(one.source == query for one in report.skipped)
    report.deleted = [one for one in known if one not in there] if whole else []
    store.drop(report.deleted)
    return report


def origin_of(database: str, query: str) -> str:
    """Return the beginning of the names of a query's rows. Raises UsageError as ``readers.sql.name_of``."""
    return f"sql:{name_of(database)}/{sha256_text(query)[:8]}"


def documents(database: str, query: str, name: str, column: str, limits: Limits) -> Iterator[Item]:
    """Yield a document for each row: a line for each value, and as metadata the numbers and the short texts."""
    for number, row in enumerate(select(database, query, limits), start=1):
        if isinstance(row, Skipped):
            yield row
            continue
        text = row_text(row.columns, row.values)
        identity = _identity(row, column) if column else sha256_text(text)[:12]
        if not text or not identity:
            reason = "there is no text in it" if not text else f"its {column} is empty"
            yield Skipped(f"{name}, row {number}", reason)
        else:
            yield tidy(Document(f"{name}#{identity}", text, metadata=_metadata(row)))


def _keep(store: Store, split: Splitter, document: Document, known: str | None, report: IngestReport) -> None:
    digest = sha256_text(document.text + json.dumps(dict(document.metadata), sort_keys=True))
    if digest == known:
        report.unchanged.append(document.source)
        return
    store.put(document.source, digest, [Entry(document.source, split(document), document.title)])
    (report.read if known is None else report.updated).append(document.source)


def _identity(row: SqlRow, column: str) -> str:
    if column not in row.columns:
        why = f"the query gives {', '.join(row.columns)}"
        raise UsageError(f"the rows have no column {column!r}", why=why, fix="name one of these, or leave --id out")
    value = row.values[row.columns.index(column)]
    return "" if value is None else " ".join(str(value).split())


def _metadata(row: SqlRow) -> dict[str, Scalar]:
    return {name: value for name, value in zip(row.columns, row.values, strict=True) if _is_scalar(value)}


def _is_scalar(value: object) -> TypeGuard[Scalar]:
    if isinstance(value, str):
        return len(value) <= _MAX_VALUE
    return isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value))
