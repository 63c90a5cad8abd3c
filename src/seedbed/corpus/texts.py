"""Rows of a data set as records that a corpus is built from: the text, and what a document's record may hold besides.

Columns that a corpus does not read are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from seedbed.core.errors import DataError
from seedbed.core.files import disk_errors
from seedbed.core.progress import track
from seedbed.corpus.tables import Row
from seedbed.corpus.tally import Tally

_KEPT = ("title", "licence", "license", "path", "url", "id")


def write_texts(rows: Iterable[tuple[str, Row]], column: str, path: Path) -> int:
    """Write the texts of rows as JSON Lines. Returns how many; rows without text are left out, which is said.

    Raises DataError where no row has text in that column, CapacityError where the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    written = seen = 0
    empty = Tally()
    with disk_errors(path.parent), path.open("w", encoding="utf-8") as file:
        for place, row in track(rows, "reading rows", unit="rows"):
            seen += 1
            text = row.get(column)
            if isinstance(text, str) and text.strip():
                kept = {key: row[key] for key in _KEPT if isinstance(row.get(key), str)}
                file.write(json.dumps(kept | {"text": text}) + "\n")
                written += 1
            else:
                empty.add(f"no text in column {column}", place)
    empty.say(f"{empty.total:,} of {seen:,} rows are left out")
    if not written:
        raise DataError(
            "no text can be read from this data set",
            why=f"none of {seen:,} rows has text in column {column!r}",
            fix="name another column with --text-column",
        )
    return written
