"""The chat model that a command line names, and what its replies are asked for."""

from __future__ import annotations

import dataclasses
from typing import cast

from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.open_model import is_url, open_model
from seedbed.cli.run import load
from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Sampling


def open_chat_model(
    reference: str, sampling: Sampling, window: int | None, as_json: bool
) -> tuple[ChatModel, ReplyOptions]:
    """A model by name or URL, and the options of its replies.

    Raises:
        NotFoundError: there is none of that name.
        UsageError: the URL is none, or beams are asked of a server.
    """
    if is_url(reference):
        if sampling.beams > 1:
            raise UsageError("a server searches no beams", why="its API has no such option", fix="leave out --beams")
        return open_model(reference, window=window), remote_options(sampling)
    loaded = load(reference)
    from seedbed.chat.local import LocalModel  # torch: not before the name is known to be right

    return LocalModel(loaded, name=reference, sampling=sampling), {"logprobs": True} if as_json else {}


def remote_options(sampling: Sampling) -> ReplyOptions:
    """What a server is asked for: of what not every server knows, only what differs from neutral."""
    plain = Sampling()
    neutral = {field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}
    given = {name: getattr(sampling, name) for name in ReplyOptions.__annotations__ if name in neutral}
    always = ("max_tokens", "temperature")
    asked = {name: value for name, value in given.items() if name in always or value != neutral[name]}
    return cast(ReplyOptions, asked)
