"""Memory: which messages of a conversation a model is shown.

A conversation is kept whole; a memory makes a view of it before each reply. What is left out goes by whole turns, the
oldest first: a turn is a message of the user with all that answers it. System messages always stay, and so does the
turn under way, which no size counts; a tool's result never stands without its call. These are LangChain's buffer,
window and token buffer memories, but for two things: those count messages, and may begin with half a turn; and tokens
here are the model's own, template and all. A running summary is in ``summary.py``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from seedbed.chat.messages import Message
from seedbed.chat.model import ChatModel
from seedbed.chat.tracing import Trace
from seedbed.core.errors import CapacityError
from seedbed.inference.parameters import check_range


@dataclass(frozen=True)
class View:
    """The messages that a model is shown, and how many of the conversation are ``left_out``."""

    messages: tuple[Message, ...]
    left_out: int = 0
    summary: str = ""  # of those that are left out, where there is one


class CountsPrompts(Protocol):
    """Knows its window, and the length of a prompt in it: a chat model, or the encoder of its prompts."""

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply together may have."""

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt, template and all."""


class Memory(Protocol):
    """Decides what a model is shown."""

    def view(self, messages: Sequence[Message], model: ChatModel, trace: Trace | None = None) -> View:
        """A view of the whole conversation, which ends with what is to be answered."""


@dataclass(frozen=True)
class Buffer:
    """Everything."""

    def view(self, messages: Sequence[Message], model: ChatModel, trace: Trace | None = None) -> View:
        """All messages."""
        return View(tuple(messages))


@dataclass(frozen=True)
class WindowMemory:
    """The latest ``turns`` turns before the one under way. Raises UsageError for fewer than none."""

    turns: int

    def __post_init__(self) -> None:
        check_range("turns", self.turns, 0)

    def view(self, messages: Sequence[Message], model: ChatModel, trace: Trace | None = None) -> View:
        """The latest turns."""
        places = turn_places(messages)
        return view_from(messages, places[max(0, len(places) - 1 - self.turns)])


@dataclass(frozen=True)
class TokenBudget:
    """As many of the latest turns as add at most ``tokens`` tokens to the prompt. Raises UsageError below 0."""

    tokens: int

    def __post_init__(self) -> None:
        check_range("tokens", self.tokens, 0)

    def view(self, messages: Sequence[Message], model: ChatModel, trace: Trace | None = None) -> View:
        """The latest turns."""
        return view_from(messages, place_within(messages, model, self.tokens))


def fit_window(messages: Sequence[Message], model: CountsPrompts, max_tokens: int) -> View:
    """As many of the latest turns as the model's window holds beside a reply.

    The reply's room is ``max_tokens``, but at most a quarter of the window, so that a short window still holds some
    history. Raises CapacityError where the system messages and the turn under way alone do not fit.
    """
    window = model.context_window
    allowed = window - min(max_tokens, window // 4)
    place = _first_within(messages, model, allowed)
    if place is None:
        what = f"the message has {_count(messages, turn_places(messages)[-1], model)} tokens, {allowed} are allowed"
        why = f"the model's window holds {window} tokens, and the reply needs some of them"
        fix = "ask in fewer words, shorten the system message, or use a model with a longer window"
        raise CapacityError(what, why=why, fix=fix)
    return view_from(messages, place)


def place_within(messages: Sequence[Message], model: CountsPrompts, tokens: int) -> int:
    """Return the place from which the latest turns add at most ``tokens`` tokens to the turn under way."""
    last = turn_places(messages)[-1]
    place = _first_within(messages, model, _count(messages, last, model) + tokens)
    return last if place is None else place


def turn_places(messages: Sequence[Message]) -> list[int]:
    """Return the place of each turn; the last is that of the turn under way, or the end where there is none."""
    users = [place for place, one in enumerate(messages) if one.role == "user"]
    first = next((place for place, one in enumerate(messages) if one.role != "system"), len(messages))
    answered = not messages or (messages[-1].role == "assistant" and not messages[-1].tool_calls)
    last = len(messages) if answered or not users else users[-1]
    return [*(place for place in sorted({first, *users}) if place < last), last]


def view_from(messages: Sequence[Message], place: int) -> View:
    """System messages, and all messages from ``place`` on but results of calls that are left out."""
    kept = [one for at, one in enumerate(messages) if at >= place or one.role == "system"]
    calls = {call.id for one in kept for call in one.tool_calls}
    shown = tuple(one for one in kept if one.role != "tool" or one.tool_call_id in calls)
    return View(shown, len(messages) - len(shown))


def _first_within(messages: Sequence[Message], model: CountsPrompts, allowed: int) -> int | None:
    """The first turn from which on the messages have at most so many tokens: often the very first, so it is asked."""
    places = turn_places(messages)
    if _count(messages, places[0], model) <= allowed:
        return places[0]
    found = bisect_left(places, True, lo=1, key=lambda place: _count(messages, place, model) <= allowed)
    return places[found] if found < len(places) else None


def _count(messages: Sequence[Message], place: int, model: CountsPrompts) -> int:
    shown = view_from(messages, place).messages
    return model.count_prompt(shown) if shown else 0
