"""Printing, asking and reading of every command: data on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from seedbed.core import files
from seedbed.core.errors import CapacityError, UsageError
from seedbed.core.terminal import echo, harmless, json_text
from seedbed.core.units import bytes_text, minute_text

_MAX_INPUT = 10_000_000  # bytes
_TIMES, _IDS = ("created", "updated", "added"), ("id", "digest", "sha256", "pid")
_TITLES = {"bytes": "size"}


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    echo(json_text(value))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Print a plain aligned table on standard output; columns in ``right`` are right-aligned (numbers)."""
    rows = [[" ".join(text.splitlines()) for text in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    for row in [headers, *rows]:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        echo("  ".join(cells).rstrip())


def cell(key: str, value: Any) -> str:
    """Return a value as a table shows it: by its type, and bytes, times and ids by the name of their field."""
    if value is None:
        return "-"
    if key == "bytes" or key.endswith("_bytes"):
        return bytes_text(value)
    if key in _TIMES:
        return minute_text(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, (bool, str)) or key in _IDS:
        return str(value)[: 12 if key in _IDS else None]
    return f"{value:,.3f}" if isinstance(value, float) else f"{value:,}"


def print_list(records: Sequence[Mapping[str, Any]], keys: Sequence[str], as_json: bool) -> None:
    """Print records as JSON, or these of their fields as a table."""
    if as_json:
        print_json(records)
        return
    titles = [_TITLES.get(key, key.replace("_", " ")) + " (UTC)" * (key in _TIMES) for key in keys]
    rows = [[cell(key, record.get(key)) for key in keys] for record in records]
    values = [[record.get(key) for record in records] for key in keys]
    numbers = [at for at, column in enumerate(values) if not any(isinstance(one, (str, list, tuple)) for one in column)]
    print_table(titles, rows, right=numbers)


def plain_line(text: str) -> str:
    """Return a text in one line, without control characters."""
    return harmless(" ".join(text.split()))


def read_text(argument: str) -> str:
    """Return the text itself, or all of standard input for ``-``; raises as :func:`input_text`."""
    if argument != "-":
        return argument
    data = sys.stdin.buffer.read(_MAX_INPUT + 1)
    if len(data) > _MAX_INPUT:
        why = f"it has more than {_MAX_INPUT:,} bytes"
        raise CapacityError("standard input is too long", why=why, fix="give a part, or add it with `seedbed docs add`")
    return input_text(data)


def input_text(data: bytes) -> str:
    """Return bytes of standard input as text, without a byte-order mark.

    Raises UsageError where they are not of the terminal's encoding: a guess at a few words would often be wrong.
    """
    encoding = sys.stdin.encoding or "utf-8"
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, "replace")[-20:]
        why = f"byte 0x{data[error.start]:02x} after {before!r} is no {encoding}"
        fix = "convert it (iconv -f LATIN1 -t UTF-8), or name its encoding (PYTHONIOENCODING=latin-1)"
        raise UsageError("standard input cannot be read as text", why=why, fix=fix) from error


def confirm(question: str, yes: bool) -> None:
    """Ask on standard error, unless ``yes``. Raises UsageError: nobody answers; click.Abort: the answer is no."""
    if yes:
        return
    try:
        agreed = click.confirm(harmless(question), default=False, err=True)
    except click.Abort as error:
        why = f"{question} has no answer on standard input"
        raise UsageError("Cannot ask: no terminal; add --yes", why=why, fix="add --yes") from error
    if not agreed:
        raise click.Abort


def copy_report(report: Path, target: Path) -> None:
    """Copy a stored report to a file of the user's. Raises UsageError: the file cannot be written."""
    try:
        files.write_text(target, report.read_text(encoding="utf-8"))
        files.open_to_others(target)
    except OSError as error:
        fix = f"the report is stored: copy {report} to another place"
        raise UsageError(f"{target} cannot be written", why=str(error), fix=fix) from error
