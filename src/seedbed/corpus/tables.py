"""Rows of data files as dictionaries, streamed: JSON Lines, JSON, CSV, TSV and, with pyarrow, Parquet.

Files called .json are often JSON Lines: what the first line holds decides. A JSON list is read whole, up to a limit.
Lines that are no objects are counted, not fatal. Nested columns stay what they are.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from seedbed.core.errors import CapacityError, DataError, UsageError
from seedbed.documents.compression import kind_of, open_bytes

Row = dict[str, Any]
T = TypeVar("T")
MAX_WHOLE = 1_000_000_000
"""Bytes of the largest JSON list that is read; it cannot be read in parts."""
_MAX_FIELD = 32_000_000
_PARQUET_ROWS = 512


@dataclass
class TableRows:
    """The rows of files; ``bad`` counts what was none, as far as they were read."""

    paths: list[Path]
    root: Path
    bad: int = 0

    def __iter__(self) -> Iterator[tuple[str, Row]]:
        """Where each row stands (``file.jsonl#12``), and the row.

        Raises:
            DataError: a file is damaged or not what its name says.
            UsageError: Parquet without pyarrow, or a kind of file that has no rows.
        """
        for path in self.paths:
            name = path.relative_to(self.root).as_posix()
            reader = _READERS.get(kind_of(path))
            if reader is None:
                raise UsageError(f"{name} has no rows", why="it is text", fix="make a corpus of it: `--as corpus`")
            try:
                for number, row in enumerate(reader(path), 1):
                    if isinstance(row, dict):
                        yield f"{name}#{number}", row
                    else:
                        self.bad += 1
            except (OSError, EOFError, ValueError, csv.Error, RecursionError) as error:
                raise DataError(f"{name} cannot be read", why=str(error), fix="see whether it is complete") from error


def require_parquet() -> None:
    """Stop before a download that could not be read.

    Raises:
        UsageError: pyarrow is not installed.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError(
            "Parquet files cannot be read here",
            why="pyarrow is not installed",
            fix="run `pip install 'seedbed[parquet]'`, or choose a data set of JSON Lines or CSV files",
        )


def _json_lines(path: Path) -> Iterator[Any]:
    with open_bytes(path) as stream:
        for line in stream:
            if line.strip():
                try:
                    yield json.loads(line.decode("utf-8-sig"))
                except (ValueError, RecursionError):
                    yield None


def _json(path: Path) -> Iterator[Any]:
    with open_bytes(path) as stream:
        first = stream.readline(_MAX_FIELD)
    if _is_object(first):
        return _json_lines(path)
    with open_bytes(path) as stream:
        data = stream.read(MAX_WHOLE + 1)
    if len(data) > MAX_WHOLE:
        raise CapacityError(
            f"{path.name} is too large for a JSON list",
            why=f"it has more than {MAX_WHOLE // 10**6} MB and cannot be read in parts",
            fix="convert it to JSON Lines",
        )
    value = json.loads(data.decode("utf-8-sig"))
    lists = [item for item in value.values() if isinstance(item, list)] if isinstance(value, dict) else [value]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise ValueError("it is neither a list of rows nor an object with one list in it")
    return iter(lists[0])


def _is_object(line: bytes) -> bool:
    """Whether a line is a whole JSON object."""
    try:
        return isinstance(json.loads(line.decode("utf-8-sig")), dict)
    except (ValueError, RecursionError):
        return False


def _separated(delimiter: str) -> Callable[[Path], Iterator[Any]]:
    def read(path: Path) -> Iterator[Any]:
        with open_bytes(path) as stream:
            text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            for row in _with_long_fields(csv.DictReader(text, delimiter=delimiter, strict=True)):
                yield None if None in row or None in row.values() else row  # too many fields, or too few

    return read


def _with_long_fields(rows: Iterator[T]) -> Iterator[T]:
    """The csv module's limit is one for the whole process: it is raised for a row at a time."""
    while True:
        before = csv.field_size_limit(_MAX_FIELD)
        try:
            row = next(rows)
        except StopIteration:
            return
        finally:
            csv.field_size_limit(before)
        yield row


def _parquet(path: Path) -> Iterator[Any]:
    require_parquet()
    parquet: Any = importlib.import_module("pyarrow.parquet")  # an extra; its errors are OSError and ValueError
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_PARQUET_ROWS):
            yield from batch.to_pylist()


_READERS: dict[str, Callable[[Path], Iterator[Any]]] = {
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".parquet": _parquet,
}
