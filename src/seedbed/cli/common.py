"""Printing, asking and reading of every command: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import click

from seedbed.core.errors import UsageError

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def print_json(value: Any) -> None:
    """Print one JSON document on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Print a plain aligned table on standard output; columns in ``right`` are right-aligned (numbers)."""
    widths = [max(len(cell) for cell in column) for column in zip(headers, *rows, strict=True)]
    for row in [headers, *rows]:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(cells).rstrip(), file=sys.stdout)


def visible(text: str) -> str:
    """Return a text with control characters as U+FFFD on a terminal: a document or a model must not steer it."""
    return text.translate(_CONTROLS) if sys.stdout.isatty() else text


def plain_line(text: str) -> str:
    """Return a text in one line, without control characters."""
    return " ".join(text.split()).translate(_CONTROLS)


def read_text(argument: str) -> str:
    """Return the text itself, or all of standard input for ``-``.

    Raises:
        UsageError: standard input is not UTF-8 text.
    """
    if argument != "-":
        return argument
    try:
        return sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("the prompt on standard input is not text", why=str(error), fix="give UTF-8 text") from error


def confirm(question: str, yes: bool) -> None:
    """Ask on standard error, unless ``yes``.

    Raises:
        UsageError: standard input has no answer.
        click.Abort: the answer is no.
    """
    if yes:
        return
    try:
        agreed = click.confirm(question, default=False, err=True)
    except click.Abort as error:
        raise UsageError(
            "Cannot ask: no terminal; add --yes", why=f"{question} has no answer on standard input", fix="add --yes"
        ) from error
    if not agreed:
        raise click.Abort
