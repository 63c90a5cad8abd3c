"""A chat model that a command line names, the options of its replies, and the memory of a conversation with it."""

from __future__ import annotations

from typing import cast

from seedbed.chat.memory import Buffer, Memory, TokenBudget, WindowMemory
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.open_model import is_url, open_model
from seedbed.chat.summary import SummaryMemory
from seedbed.cli.sampling import OF_REPLIES, Given, chosen_sampling
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Sampling


def open_chat_model(reference: str, given: Given, context: int | None) -> tuple[ChatModel, ReplyOptions, Sampling]:
    """Return a model by name or URL, the options of its replies, and their sampling as far as it is known here.

    Raises NotFoundError; UsageError: a wrong URL, or an option that a server does not have.
    """
    if is_url(reference):
        sampling = chosen_sampling(given)
        if sampling.beams > 1:
            why = "a server's API has no such option"
            raise UsageError("beam search needs a model of this library", why=why, fix="leave out --beams")
        return open_model(reference, window=context), _remote_options(given, sampling), sampling
    artifact = Library().get(reference, "model")
    from seedbed.chat.local import DEFAULT, LocalModel  # torch: not before the name is known to be right
    from seedbed.inference.engine_client import sampling_of_publishers
    from seedbed.models.store import load_model

    loaded = load_model(artifact)
    sampling = chosen_sampling(given, sampling_of_publishers(loaded).over(DEFAULT))
    asked: ReplyOptions = {"temperature": given["temperature"]} if "temperature" in given else {}  # chains are greedy
    return LocalModel(loaded, name=reference, sampling=sampling), asked, sampling


def _remote_options(given: Given, sampling: Sampling) -> ReplyOptions:
    """Return the options for a server: what is given, a limit and the seed; the rest is for the server to say."""
    asked = {name: value for name, value in given.items() if name in OF_REPLIES}
    return cast(ReplyOptions, {"max_tokens": sampling.max_tokens, "seed": sampling.seed, **asked})


def make_memory(kind: str, size: int | None, window: int, turns: int) -> Memory:
    """Return the memory of that name, by default of so many turns or a part of the window. Raises UsageError."""
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
