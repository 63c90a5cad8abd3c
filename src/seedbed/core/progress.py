"""Progress on standard error: a bar with rate and time left on a terminal, one plain line per interval elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from seedbed.core.terminal import echo, visible
from seedbed.core.units import count_text

T = TypeVar("T")
PLAIN_INTERVAL = 5.0
"""Seconds between two plain lines when standard error is not a terminal."""
_BAR_FROM = 80  # columns: a narrower terminal shows the figures alone

_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def set_quiet(quiet: bool) -> None:
    """Show no progress in this context (the ``-q`` flag)."""
    _quiet.set(quiet)


def say(message: str) -> None:
    """Print a line for the user on standard error, unless ``-q``."""
    if not _quiet.get():
        echo(message, file=sys.stderr, flush=True)


class ProgressBar:
    """The display that a running piece of work reports to; this one shows nothing."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Count ``amount`` more units; ``note`` is shown beside the bar."""

    def say(self, message: str) -> None:
        """Print a line above the bar."""


@contextmanager
def progress(title: str, total: float | None = None, unit: str = "") -> Iterator[ProgressBar]:
    """Show progress of work that may take over two seconds: of ``total`` units, where known, called ``unit``."""
    if _quiet.get():
        yield ProgressBar()
    elif sys.stderr.isatty():
        with _rich_bar(title, total, unit) as bar:
            yield bar
    else:
        plain = _Plain(title, total, unit)
        yield plain
        plain.close()


def track(items: Iterable[T], title: str, total: float | None = None, unit: str = "") -> Iterator[T]:
    """Iterate with progress, one unit an item."""
    with progress(title, total, unit) as bar:
        for item in items:
            yield item
            bar.advance()


class _Plain(ProgressBar):
    def __init__(self, title: str, total: float | None, unit: str) -> None:
        self.title, self.total, self.unit = title, total, unit
        self.done, self.said, self.note = 0.0, -1.0, ""
        self.started = self.shown = time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        self.note = note or self.note
        if time.monotonic() - self.shown >= PLAIN_INTERVAL:
            self._show()

    def say(self, message: str) -> None:
        echo(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        if time.monotonic() - self.started >= 2 and self.done != self.said:
            self._show()

    def _show(self) -> None:
        self.shown, self.said = time.monotonic(), self.done
        seconds = self.shown - self.started
        rate = self.done / seconds if seconds > 0 else 0.0
        parts = [f"{self.done:,.0f} {self.unit}".strip(), f"{rate:,.0f}/s"]
        if self.total:
            left = max(0.0, self.total - self.done) / rate if rate else float("inf")
            parts = [f"{self.done / self.total:4.0%}", *parts, f"{duration(left)} left"]
        echo(f"{self.title}: {', '.join([*parts, self.note] if self.note else parts)}", file=sys.stderr, flush=True)


@contextmanager
def _rich_bar(title: str, total: float | None, unit: str) -> Iterator[ProgressBar]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed or 0.0
            return Text(f"{count_text(speed)} {unit}/s".replace(" /", "/"), style="dim")

    console = Console(stderr=True)
    wide, named = console.width >= _BAR_FROM, min(len(title), 20)
    room = console.width - named - len(unit) - 26 - 41 * wide  # beside the other columns
    name, note = (
        TextColumn(text, markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", max_width=width))
        for text, width in (("{task.description}", named), ("{task.fields[note]}", max(1, room)))
    )
    percent, bar = TextColumn("{task.percentage:>3.0f}%"), [BarColumn()] if wide else []
    with Progress(name, *bar, percent, Rate(), TimeRemainingColumn(), note, console=console) as live:
        task = live.add_task(visible(title, sys.stderr), total=total, note="")

        class Live(ProgressBar):
            def advance(self, amount: float = 1, note: str = "") -> None:
                live.advance(task, amount)
                if note:
                    live.update(task, note=visible(note, sys.stderr))

            def say(self, message: str) -> None:
                console.print(visible(message, sys.stderr), markup=False, highlight=False)

        yield Live()


@contextmanager
def draft(title: str) -> Iterator[Callable[[str], None]]:
    """Show a text that grows, and is taken away when it is whole: yields what adds to it. Only on a terminal.

    Elsewhere the pieces are counted as :func:`progress` does.
    """
    if _quiet.get() or not sys.stderr.isatty():
        with progress(title, unit="pieces") as bar:
            yield lambda piece: bar.advance(bool(piece))
        return
    from rich.console import Console
    from rich.live import Live as LiveDisplay
    from rich.text import Text

    shown = Text(style="dim")
    with LiveDisplay(shown, console=Console(stderr=True), transient=True, refresh_per_second=20):

        def add(piece: str) -> None:
            shown.append(visible(piece, sys.stderr))

        yield add


def duration(seconds: float) -> str:
    """Return ``42 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 04 h`` or ``1,200 d``."""
    if seconds != seconds or seconds == float("inf"):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    hours = f" {whole % 86400 // 3600:02d} h" if whole < 100 * 86400 else ""
    return f"{whole // 86400:,} d{hours}"
