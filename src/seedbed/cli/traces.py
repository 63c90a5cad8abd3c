"""Traces, printed by `seedbed runs traces`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from seedbed.chat.trace_log import LoggedSpan
from seedbed.cli.common import print_json, print_table
from seedbed.core.units import iso_time


def print_traces(roots: Sequence[LoggedSpan], as_json: bool) -> None:
    """Print one line a trace."""
    if as_json:
        print_json([_values(one) for one in roots])
        return
    rows = [
        [_time(one.started), _plain(one.name), _seconds(one), *_tokens(one), one.status, one.id[:8]] for one in roots
    ]
    print_table(["time", "name", "seconds", "read", "written", "status", "id"], rows, right=(2, 3, 4))


def print_tree(spans: Sequence[LoggedSpan], as_json: bool) -> None:
    """Print all spans of a trace, each above its parts."""
    if as_json:
        print_json([_values(one) for one in spans])
        return
    rows = [
        [f"{'  ' * depth}{one.what} {_plain(one.name)}", _seconds(one), *_tokens(one), _told(one)]
        for depth, one in _walk(spans)
    ]
    print_table(["what", "seconds", "read", "written", ""], rows, right=(1, 2, 3))


def _walk(spans: Sequence[LoggedSpan]) -> Iterator[tuple[int, LoggedSpan]]:
    """Yield each span before its parts, with its depth; one without its parent is a root."""
    known, parts = {one.id for one in spans}, dict[str | None, list[LoggedSpan]]()
    for one in spans:
        parts.setdefault(one.parent if one.parent in known else None, []).append(one)
    waiting = [(0, one) for one in reversed(parts.get(None, []))]
    while waiting:
        depth, one = waiting.pop()
        yield depth, one
        waiting += [(depth + 1, part) for part in reversed(parts.get(one.id, []))]


def _told(one: LoggedSpan) -> str:
    pairs = [*one.data.items(), *one.result.items()]  # contents may be in both
    told = [f"{name}={value}" for name, value in pairs if not name.endswith("_tokens")]
    status = [] if one.status == "ok" else [f"{one.status}: {one.error}" if one.error else one.status]
    return _plain(" ".join([*status, *told]))


def _plain(text: str) -> str:
    """Return one line without control characters, which could steer a terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in " ".join(text.split()))


def _values(one: LoggedSpan) -> dict[str, object]:
    return {**asdict(one), "started": _time(one.started), "seconds": one.seconds, "ended": _time(one.ended)}


def _tokens(one: LoggedSpan) -> list[str]:
    return [f"{count:,}" if count else "" for count in (one.prompt_tokens, one.completion_tokens)]


def _seconds(one: LoggedSpan) -> str:
    return "" if one.seconds is None else f"{one.seconds:.3f}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else iso_time(seconds)
