"""Requests to the engine, the tokens and events it answers with, and the errors it refuses with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedbed.core.errors import SeedbedError, UsageError
from seedbed.inference.parameters import Sampling

Finish = Literal["end", "length", "stop"]  # by the model's end token, the limit or the full window, a stop string


@dataclass(frozen=True)
class Token:
    """One generated token."""

    id: int
    logprob: float  # natural, under the model itself: before penalties, temperature and filters
    finish: Finish | None = None  # set on the last token; with "end" the token is the end token itself
    top: tuple[tuple[int, float], ...] = ()  # the most probable ids here with their log-probabilities, best first


@dataclass(frozen=True)
class Request:
    """One reply that is asked for."""

    id: str  # names it while it is running
    prompt: tuple[int, ...]
    sampling: Sampling  # with its seed fixed
    salt: str = ""  # only requests with the same salt share cached prefixes, and salts of an owner take turns
    adapter: str | None = None  # name of a LoRA adapter of the runner
    deadline: float | None = None  # ``time.monotonic()`` after which it ends with an error
    echo: bool = False  # the log-probabilities of the prompt's own tokens are wanted
    owner: str = ""  # owners have equal shares of the queue, of what runs, and of each step


@dataclass(frozen=True)
class Event:
    """A token of a reply, or the error that ends it.

    The first one of a request with ``echo`` has the prompt's log-probabilities, None for its first token, and the most
    probable tokens at each place where they were asked for.
    """

    request_id: str
    token: Token | None = None
    error: SeedbedError | None = None
    prompt_logprobs: list[float | None] | None = None
    prompt_top: list[tuple[tuple[int, float], ...]] | None = None


class QueueFull(SeedbedError):
    """Too many requests are waiting; ``retry_after`` estimates in how many seconds one more will find a place."""

    retry_after: int = 1


class DeadlineError(SeedbedError):
    """A request took longer than it was allowed to."""


def in_use(request_id: str) -> UsageError:
    """Return the refusal of a second request with the id of one that is running."""
    return UsageError(f"request {request_id} is running", why="an id names one request", fix="take another id")
