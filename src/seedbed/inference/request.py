"""Requests to the engine, the tokens and events it answers with, and the errors it refuses with."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from seedbed.core.errors import CapacityError, SeedbedError, UsageError
from seedbed.inference.parameters import Sampling

Finish = Literal["end", "length", "stop"]
"""The reason that a reply ends: the model's end token, the limit or the full window, a stop string."""


@dataclass(frozen=True)
class Token:
    """One generated token."""

    id: int
    logprob: float  # natural, under the model itself: before penalties, temperature and filters
    finish: Finish | None = None  # set on the last token; with "end" the token is the end token itself
    top: tuple[tuple[int, float], ...] = ()  # the most probable ids here with their log-probabilities, best first


def finish_of(token: int, length: int, end_ids: Collection[int], limit: int) -> Finish | None:
    """Return the reason that a reply of ``length`` tokens ends with ``token``; None where it goes on."""
    if token in end_ids:
        return "end"
    return "length" if length >= limit else None


@dataclass(frozen=True)
class Request:
    """One reply that is asked for."""

    id: str  # names it while it is running
    prompt: tuple[int, ...]
    sampling: Sampling  # with its seed fixed
    salt: str = ""  # only requests with the same salt share cached prefixes, and salts take turns in the queue
    adapter: str | None = None  # name of a LoRA adapter of the runner
    deadline: float | None = None  # ``time.monotonic()`` after which it ends with an error
    echo: bool = False  # the log-probabilities of the prompt's own tokens are wanted


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


def check_prompt(prompt: Sequence[int], vocab_size: int, max_length: int, held: str = "the model's window") -> None:
    """Refuse a prompt that a model cannot continue; ``held`` is what holds ``max_length`` positions.

    Raises:
        UsageError: it is empty, or holds an id that the model does not know.
        CapacityError: it is longer than the window.
    """
    if not prompt:
        raise UsageError("the prompt is empty", why="a model continues at least one token", fix="give some text")
    if min(prompt) < 0 or max(prompt) >= vocab_size:
        wrong = next(token for token in prompt if not 0 <= token < vocab_size)
        why = f"the model knows ids 0 to {vocab_size - 1}; the prompt was made with another tokenizer"
        fix = "encode the prompt with the model's own tokenizer"
        raise UsageError(f"token id {wrong} is not in the model's vocabulary", why=why, fix=fix)
    if len(prompt) > max_length:
        why, fix = f"{held} holds {max_length} positions", "shorten the prompt, or use a model with a longer window"
        raise CapacityError(f"the prompt has {len(prompt)} tokens, {max_length} are allowed", why=why, fix=fix)
