"""Events of models, chains, retrievers and tools: start, tokens, end or error, nested in each other.

A trace is any callable that takes a :class:`TraceEvent`; None costs nothing. One that raises is told no more of that
piece of work, and a line in the log says so: watching must not break what is watched.

What events have in common: the end of a model's work holds ``prompt_tokens`` and ``completion_tokens``; ``model`` is
the model's name, where the event's own name is another; ``operation`` is a name of OpenTelemetry's where the kind of
work does not tell ("embeddings"). Contents (prompts, texts) are under ``content``, so that a listener can leave them
out.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

What = Literal["model", "chain", "retriever", "tool"]


@dataclass(frozen=True)
class TraceEvent:
    """Something that happened in the piece of work ``span``, a part of ``parent``; texts are in ``data["content"]``."""

    kind: Literal["start", "token", "end", "error"]
    what: What
    name: str
    span: str
    parent: str | None
    data: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = field(default_factory=time.time)


Trace = Callable[[TraceEvent], None]
_current: ContextVar[str | None] = ContextVar("span", default=None)
_log = logging.getLogger(__name__)


class TraceSpan:
    """A piece of work that is being traced; ``data`` is told with its end."""

    def __init__(self, trace: Trace | None, what: What, name: str, parent: str | None) -> None:
        self.trace, self.what, self.name, self.parent = trace, what, name, parent
        self.id, self.data = secrets.token_hex(8), dict[str, Any]()

    def tell(self, kind: Literal["start", "token", "end", "error"], data: Mapping[str, Any]) -> None:
        """Send an event."""
        if self.trace is not None:
            event = TraceEvent(kind, self.what, self.name, self.id, self.parent, data)
            self.trace = self.trace if _tell(self.trace, event) else None


def fan_out(*traces: Trace | None) -> Trace | None:
    """One trace that tells several. One of them that raises is left out from then on; None is none."""
    alive = [trace for trace in traces if trace is not None]

    def tell_all(event: TraceEvent) -> None:
        alive[:] = [trace for trace in alive if _tell(trace, event)]

    return tell_all if alive else None


def _tell(trace: Trace, event: TraceEvent) -> bool:
    """Return True when the listener took the event."""
    try:
        trace(event)
    except Exception as error:
        _log.warning("a trace failed and is told no more of %s %s: %r", event.what, event.name, error)
        return False
    return True


@contextmanager
def span(trace: Trace | None, what: What, name: str, **data: Any) -> Iterator[TraceSpan]:
    """Trace a piece of work: its start with ``data``, its end with what the span's own ``data`` holds, or its error.

    Other work in the block is part of it. Not so with a model: its block may be a generator that is read over a while,
    between other work, and nothing happens inside a model that is told apart.
    """
    one = TraceSpan(trace, what, name, _current.get())
    one.tell("start", data)
    token = _current.set(one.id) if what != "model" else None
    try:
        yield one
    except GeneratorExit:  # whoever read the stream has stopped
        one.tell("end", {**one.data, "stopped": True})
        raise
    except BaseException as error:
        one.tell("error", {"error": f"{type(error).__name__}: {error}"})
        raise
    else:
        one.tell("end", one.data)
    finally:
        if token is not None:
            _current.reset(token)
