"""Events and the log of them: what is inside what, who is told, what is kept, and how much of it."""

from __future__ import annotations

import logging
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed.chat.otel import otel_trace
from seedbed.chat.trace_log import TraceLog
from seedbed.chat.tracing import Trace, TraceEvent, fan_out, span
from seedbed.core.errors import DataError, NotFoundError, UsageError


@pytest.fixture
def events() -> list[TraceEvent]:
    return []


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TraceLog]:
    with TraceLog(tmp_path / "chat" / "traces.sqlite3") as log:
        yield log


def ask(trace: Trace | None) -> None:
    """A chain that retrieves, and asks a model."""
    with span(trace, "chain", "stuff", question=1) as chain:
        with span(trace, "retriever", "notes", content="the question") as found:
            found.data["hits"] = 3
        with span(trace, "model", "tiny", temperature=0.5, content={"messages": []}) as model:
            model.tell("token", {"content": "he"})
            model.data.update(prompt_tokens=40, completion_tokens=2, content={"text": "hello"})
        chain.data.update(prompt_tokens=40, completion_tokens=2)


def test_events_say_what_is_part_of_what(events: list[TraceEvent]) -> None:
    ask(events.append)
    told = [(event.kind, event.name) for event in events]
    assert told == [
        ("start", "stuff"), ("start", "notes"), ("end", "notes"),
        ("start", "tiny"), ("token", "tiny"), ("end", "tiny"), ("end", "stuff"),
    ]  # fmt: skip
    chain, notes, tiny = events[0].span, events[1].span, events[3].span
    assert len({chain, notes, tiny}) == 3
    assert [event.parent for event in events] == [None, chain, chain, chain, chain, chain, None]
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)


def test_an_error_is_told_and_goes_on(events: list[TraceEvent]) -> None:
    with pytest.raises(ZeroDivisionError), span(events.append, "chain", "outer"), span(events.append, "tool", "inner"):
        1 / 0  # noqa: B018
    assert [(event.kind, event.name) for event in events[2:]] == [("error", "inner"), ("error", "outer")]
    assert events[-1].data == {"error": "ZeroDivisionError: division by zero"}
    with span(events.append, "tool", "after"):
        assert events[-1].parent is None


def stream(trace: Trace | None, name: str) -> Iterator[int]:
    with span(trace, "model", name):
        yield from range(3)


def test_streams_that_are_read_in_turns_are_part_of_nothing_else(events: list[TraceEvent]) -> None:
    with span(events.append, "chain", "both"):
        one, other = stream(events.append, "one"), stream(events.append, "other")
        assert [next(one), next(other)] == [0, 0]
        with span(events.append, "tool", "between"):
            pass
        assert [*one, *other] == [1, 2, 1, 2]
    with span(events.append, "tool", "after"):
        pass
    parents = {event.name: event.parent for event in events}
    both = events[0].span
    assert parents == {"both": None, "one": both, "other": both, "between": both, "after": None}


def test_a_stream_that_nobody_reads_on_has_ended_not_failed(events: list[TraceEvent]) -> None:
    one = stream(events.append, "one")
    next(one)
    one.close()  # type: ignore[attr-defined]
    assert [(event.kind, dict(event.data)) for event in events] == [("start", {}), ("end", {"stopped": True})]


def test_a_listener_that_fails_does_not_break_the_work(
    events: list[TraceEvent], caplog: pytest.LogCaptureFixture
) -> None:
    def broken(event: TraceEvent) -> None:
        raise OSError("the disk is full")

    with caplog.at_level(logging.WARNING):
        ask(broken)
        assert caplog.text.count("the disk is full") == 3  # once a span
        caplog.clear()
        ask(fan_out(broken, None, events.append))
        assert caplog.text.count("the disk is full") == 1
    assert [event.name for event in events].count("tiny") == 3
    assert fan_out(None) is None
    with pytest.raises(KeyboardInterrupt), span(interrupt, "tool", "x"):
        pass


def interrupt(event: TraceEvent) -> None:
    raise KeyboardInterrupt


def test_the_log_holds_the_tree_with_times_and_tokens(log: TraceLog, events: list[TraceEvent]) -> None:
    ask(fan_out(log, events.append))
    chain, notes, tiny = log.tree(events[0].span)
    assert [one.name for one in (chain, notes, tiny)] == ["stuff", "notes", "tiny"]
    assert [one.parent for one in (chain, notes, tiny)] == [None, chain.id, chain.id]
    assert (tiny.prompt_tokens, tiny.completion_tokens) == (40, 2)
    assert (tiny.started, tiny.ended) == (events[3].seconds, events[5].seconds)
    assert {one.status for one in (chain, notes, tiny)} == {"ok"}
    assert (notes.data, notes.result) == ({}, {"hits": 3})
    assert tiny.data == {"temperature": 0.5}
    (root,) = log.latest()
    assert (root.id, root.prompt_tokens, root.completion_tokens) == (
        chain.id,
        40,
        2,
    )  # a chain's own do not count twice
    assert root.seconds == pytest.approx(events[-1].seconds - events[0].seconds)


def test_contents_are_kept_only_when_asked(log: TraceLog, tmp_path: Path) -> None:
    ask(log)
    assert not any(b"the question" in file.read_bytes() for file in (tmp_path / "chat").iterdir())
    with TraceLog(tmp_path / "full.sqlite3", content=True) as full:
        ask(full)
        _, notes, tiny = full.tree(full.latest()[0].id)
    assert notes.data["content"] == "the question"
    assert tiny.result["content"] == {"text": "hello"}


def test_the_log_tells_errors_and_what_never_ended(log: TraceLog) -> None:
    with pytest.raises(DataError), span(log, "chain", "broken"):
        raise DataError("it is broken", why="so", fix="mend it")
    log(TraceEvent("start", "chain", "killed", "k1", None))
    killed, broken = log.latest()
    assert (killed.status, killed.ended, killed.seconds) == ("running", None, None)
    assert broken.status == "error"
    assert broken.error.startswith("DataError: error: it is broken")
    assert len(log.latest(1)) == 1


def test_a_trace_is_found_by_the_beginning_of_its_id(log: TraceLog) -> None:
    for identity in ("abc1", "abd2"):
        log(TraceEvent("start", "chain", identity, identity, None))
        log(TraceEvent("start", "tool", "inner", f"{identity}i", identity))
    assert [one.id for one in log.tree("abc")] == ["abc1", "abc1i"]
    with pytest.raises(UsageError, match="fits several traces"):
        log.tree("ab")
    for missing in ("abx", "%", "_bc"):
        with pytest.raises(NotFoundError, match="no trace"):
            log.tree(missing)


def test_the_log_keeps_to_its_bound_and_loses_the_oldest(tmp_path: Path) -> None:
    path, room = tmp_path / "traces.sqlite3", 200_000
    with TraceLog(path, content=True, room=room) as log:
        for number in range(300):
            with span(log, "chain", f"c{number}"), span(log, "tool", "inner", content="x" * 5_000):
                pass
        kept = [int(one.name[1:]) for one in log.latest(1000)]
        assert kept == list(range(299, 299 - len(kept), -1))
        assert 10 < len(kept) < 50
        assert all(len(log.tree(one.id)) == 2 for one in log.latest(1000))
        with span(log, "chain", "long"):  # one trace that has no end
            for _ in range(300):
                with span(log, "tool", "inner", content="x" * 5_000):
                    pass
        assert [one.name for one in log.latest(1000)] == ["long"]
        assert 10 < len(log.tree(log.latest()[0].id)) < 50
    assert path.stat().st_size < room * 1.2


def test_one_large_content_is_cut(tmp_path: Path) -> None:
    with TraceLog(tmp_path / "traces.sqlite3", content=True) as log:
        with span(log, "tool", "inner", content="x" * 1_000_000):
            pass
        (one,) = log.tree(log.latest()[0].id)
    assert len(one.data["cut"]) == 20_000


def test_threads_and_processes_share_a_log(log: TraceLog, tmp_path: Path) -> None:
    other = TraceLog(tmp_path / "chat" / "traces.sqlite3")  # as another process would
    threads = [threading.Thread(target=lambda one=one: [ask(one) for _ in range(10)]) for one in (log, log, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.close()
    roots = log.latest(100)
    assert len(roots) == 30
    assert all([one.name for one in log.tree(root.id)] == ["stuff", "notes", "tiny"] for root in roots)


def test_a_log_that_breaks_leaves_the_work_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with TraceLog(tmp_path / "traces.sqlite3") as log:
        breaker = sqlite3.connect(tmp_path / "traces.sqlite3")
        breaker.execute("DROP TABLE spans")
        breaker.close()
        ask(log)
    assert "no such table" in caplog.text


def test_without_opentelemetry_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)  # as Python marks what cannot be imported
    with pytest.raises(UsageError, match="OpenTelemetry is not installed") as caught:
        otel_trace()
    assert "seedbed[otel]" in caught.value.fix
