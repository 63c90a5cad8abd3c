"""A chat model that a command line names, the options of its replies, and the memory of a conversation with it."""

from __future__ import annotations

import dataclasses
from typing import cast

from seedbed.chat.memory import Buffer, Memory, TokenBudget, WindowMemory
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.open_model import is_url, open_model
from seedbed.chat.summary import SummaryMemory
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Sampling


def open_chat_model(
    reference: str, sampling: Sampling, context: int | None, as_json: bool
) -> tuple[ChatModel, ReplyOptions]:
    """Return a model by name or URL, and the options of its replies.

    Raises:
        NotFoundError: there is none of that name.
        UsageError: the URL is wrong, or beams are asked of a server.
    """
    if is_url(reference):
        if sampling.beams > 1:
            why = "a server's API has no such option"
            raise UsageError("beam search needs a model of this library", why=why, fix="leave out --beams")
        return open_model(reference, window=context), _remote_options(sampling)
    artifact = Library().get(reference, "model")
    from seedbed.chat.local import LocalModel  # torch: not before the name is known to be right
    from seedbed.models.store import load_model

    return LocalModel(load_model(artifact), name=reference, sampling=sampling), {"logprobs": True} if as_json else {}


def _remote_options(sampling: Sampling) -> ReplyOptions:
    """Return the options for a server: those that not every server knows only where they differ from neutral."""
    asked = {
        field.name: getattr(sampling, field.name)
        for field in dataclasses.fields(Sampling)
        if field.name in ReplyOptions.__annotations__
        and (field.name in ("max_tokens", "temperature") or getattr(sampling, field.name) != field.default)
    }
    return cast(ReplyOptions, asked)


def make_memory(kind: str, size: int | None, window: int, turns: int) -> Memory:
    """Return the memory of that name; by default its size is so many turns, or a part of the model's window.

    Raises:
        UsageError: the size is out of range, or the memory has none.
    """
    if kind == "window":
        return WindowMemory(turns if size is None else size)
    if kind == "tokens":
        return TokenBudget(window // 2 if size is None else size)
    if kind == "summary":
        return SummaryMemory(window // 4 if size is None else size, summary_tokens=max(1, window // 8))
    if size is not None:
        why = "a buffer holds everything"
        raise UsageError("--memory-size does not apply", why=why, fix="choose another --memory, or leave it out")
    return Buffer()
