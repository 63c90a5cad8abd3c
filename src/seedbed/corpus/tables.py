"""Rows of a data set's files as dictionaries, streamed: JSON Lines, JSON, CSV, TSV and, with pyarrow, Parquet.

Lines and rows that are no objects are counted with the reason, not fatal. Nested columns stay what they are. Data sets
are UTF-8.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.core.files import open_regular
from seedbed.corpus.tally import Tally
from seedbed.documents.compression import damage_reported, kind_of, open_bytes
from seedbed.documents.encoding import open_text
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.rows import BadRow, held_rows, is_json_lines, json_lines, json_value, table_rows

Row = dict[str, Any]
_LIMITS = Limits(file_bytes=1_000_000_000)
_LINE_BYTES = 10_000_000  # of a line that is looked at, to know the form of a file
_ENCODING = "utf-8-sig"
_PARQUET_ROWS = 512


@dataclass
class TableRows:
    """The rows of files; ``bad`` counts what was none and why, as far as they were read."""

    paths: list[Path]
    root: Path
    bad: Tally = field(default_factory=Tally)

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        """Yield the place of each row (``file.jsonl#12``), and the row.

        Raises:
            DataError: a file is damaged or not what its name says.
            CapacityError: a JSON list is too large.
            UsageError: Parquet without pyarrow, or a kind of file that has no rows.
        """
        for path in self.paths:
            name = path.relative_to(self.root).as_posix()
            with damage_reported(name):
                for number, row in _values(path, name):
                    if isinstance(row, dict):
                        yield f"{name}#{number}", row
                    else:
                        self.bad.add(_why_bad(row), f"{name}#{number}")

    def say_bad(self) -> None:
        """Print how many lines were no rows, and why."""
        self.bad.say(f"{self.bad.total:,} lines are not rows and are left out")


def require_parquet() -> None:
    """Raise UsageError where pyarrow is not installed, before a download that could not be read."""
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "Parquet files cannot be read here",
            why="pyarrow is not installed",
            fix="run `pip install 'seedbed[parquet]'`, or choose a data set of JSON Lines or CSV files",
        )


def _why_bad(value: object) -> str:
    if isinstance(value, BadRow):
        return value.reason.partition(":")[0]
    return "it has more or fewer fields than there are columns" if value is None else "it is no object with fields"


def _values(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    """Yield the number of each row (of JSON Lines: of its line), and the row."""
    match kind_of(path):
        case ".jsonl" | ".ndjson":
            return _json(path, name) if _is_one_list(path) else _json_lines(path, name)
        case ".json":
            return _json(path, name)
        case ".csv" | ".tsv" as kind:
            return enumerate(_table(path, name, "," if kind == ".csv" else "\t"), 1)
        case ".parquet":
            return enumerate(_parquet(path, name), 1)
    raise UsageError(f"{name} has no rows", why="it is text", fix="make a corpus of it: `--as corpus`")


def _json_lines(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    with open_bytes(path) as stream:
        yield from json_lines(stream, name, _LIMITS, _ENCODING)


def _is_one_list(path: Path) -> bool:
    """Return whether a file called .jsonl holds one JSON list: its first line opens one and is not one of several."""
    with open_bytes(path) as stream:
        first, second = stream.readline(_LINE_BYTES).strip(), stream.readline(_LINE_BYTES).strip()
    return first.removeprefix(b"\xef\xbb\xbf").startswith(b"[") and (not first.endswith(b"]") or not second)


def _json(path: Path, name: str) -> Iterator[tuple[int, Any]]:
    with open_bytes(path) as stream:
        if is_json_lines(stream):
            return _json_lines(path, name)
    with open_bytes(path) as stream:
        value = json_value(stream, name, _LIMITS)
    held = held_rows(value)
    if held is None:
        why = "it is neither a list of rows nor an object with one list of them in it"
        raise unreadable(name, why, "convert it to JSON Lines")
    return enumerate(held[0], 1)


def _table(path: Path, name: str, delimiter: str) -> Iterator[Row | None]:
    """Yield rows as dictionaries; None for one with more or fewer fields than the first."""
    with open_bytes(path) as stream, open_text(stream, name, _LIMITS, "", _ENCODING) as text:
        rows = table_rows(text, name, delimiter, strict=True)
        columns = next(rows, [])
        for row in filter(None, rows):
            yield dict(zip(columns, row, strict=True)) if len(row) == len(columns) else None


def _parquet(path: Path, name: str) -> Iterator[Any]:
    require_parquet()
    parquet: Any = importlib.import_module("pyarrow.parquet")  # an extra; its errors are OSError and ValueError
    try:
        with open_regular(path) as opened, parquet.ParquetFile(opened) as file:
            for batch in file.iter_batches(_PARQUET_ROWS):
                yield from batch.to_pylist()
    except ValueError as error:
        raise unreadable(name, f"it is damaged: {error}", "see whether it is complete") from error
