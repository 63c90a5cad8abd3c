"""What every command shares: the `--json`, `-q` and `--debug` flags, and printing data on standard output."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from seedbed.core.progress import set_quiet

Function = TypeVar("Function", bound=Callable[..., Any])


def common_flags(function: Function) -> Function:
    """Add `--json` (passed on as ``as_json``), `-q/--quiet` and `--debug` to a command."""

    @click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
    @click.option("-q", "--quiet", is_flag=True, help="No progress and no remarks on standard error.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(function)
    def wrapped(*args: Any, quiet: bool, debug: bool, **kwargs: Any) -> Any:
        set_quiet(quiet)
        return function(*args, **kwargs)

    return wrapped  # type: ignore[return-value]


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(headers: list[str], rows: list[list[str]], *, right: tuple[int, ...] = ()) -> None:
    """A plain aligned table on standard output; columns in ``right`` are right-aligned (numbers)."""
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    for row in [headers, *rows]:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), file=sys.stdout)


def bytes_text(count: float) -> str:
    """``512 B``, ``3.4 MB``, ``698 GB``: decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count_text(count: float) -> str:
    """``950``, ``3.3 M``, ``174.6 B``: how parameter and token counts are said."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit:
            value = count / limit
            return f"{value:.3f} {unit}" if value < 10 else f"{value:.1f} {unit}"
    return f"{count:.0f}"
