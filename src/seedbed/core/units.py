"""Counts, bytes and times as people and programs read them."""

from __future__ import annotations

from datetime import UTC, datetime


def bytes_text(count: float) -> str:
    """Return ``512 B``, ``3.4 MB``, ``698 GB``: decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count_text(count: float) -> str:
    """Return ``950``, ``3.3 M``, ``174.6 B``: a number of parameters or tokens."""
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(count) >= limit:
            value = count / limit
            return f"{value:.3f} {unit}" if value < 10 else f"{value:.1f} {unit}"
    return f"{count:.0f}"


def iso_time(seconds: float) -> str:
    """Return a ``time.time()`` as ISO 8601 in UTC, to the second: ``2026-01-31T09:30:00+00:00``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def minute_text(created: str) -> str:
    """Return an ISO time to the minute, for tables: ``2026-01-31 09:30``."""
    return created[:16].replace("T", " ")
