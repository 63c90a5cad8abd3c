"""Counts of what befell rows of a data set (left out, changed, not read), each with the first row it befell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from seedbed.core.progress import say

_SHOWN = 12


class UnreadRow(Exception):
    """A row cannot be read; the message is the reason, in a few words that are the same for all rows of its kind."""


@dataclass
class Tally:
    """Counts by reason."""

    rows: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, place: str) -> None:
        """Count a row; ``place`` is kept for the first of each reason."""
        self.rows[reason] = self.rows.get(reason, 0) + 1
        self.first.setdefault(reason, place)

    def add_all(self, reasons: Iterable[str], place: str) -> None:
        """Count a row once for each of several reasons."""
        for reason in dict.fromkeys(reasons):
            self.add(reason, place)

    @property
    def total(self) -> int:
        """Count all rows, those with several reasons several times."""
        return sum(self.rows.values())

    def lines(self) -> list[str]:
        """Return a line for each reason, the most frequent first."""
        ordered = sorted(self.rows, key=lambda reason: -self.rows[reason])
        lines = [f"{self.rows[reason]:,} × {reason} (first: {self.first[reason]})" for reason in ordered[:_SHOWN]]
        more = len(ordered) - _SHOWN
        return [*lines, f"and {more} more reasons"] if more > 0 else lines

    def say(self, heading: str) -> None:
        """Print a heading and the lines under it; nothing where nothing was counted."""
        for line in [heading, *(f"  {line}" for line in self.lines())] if self.rows else ():
            say(line)

    def to_dict(self) -> dict[str, Any]:
        """Return the counts and first rows by reason, for a manifest."""
        return {reason: {"rows": count, "first": self.first[reason]} for reason, count in self.rows.items()}
