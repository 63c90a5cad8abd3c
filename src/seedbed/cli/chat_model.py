"""The chat model that a command line names, and the options of its replies."""

from __future__ import annotations

import dataclasses
from typing import cast

from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.open_model import is_url, open_model
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
        return open_model(reference, window=context), remote_options(sampling)
    artifact = Library().get(reference, "model")
    from seedbed.chat.local import LocalModel  # torch: not before the name is known to be right
    from seedbed.models.store import load_model

    return LocalModel(load_model(artifact), name=reference, sampling=sampling), {"logprobs": True} if as_json else {}


def remote_options(sampling: Sampling) -> ReplyOptions:
    """Return the options for a server: those that not every server knows only where they differ from neutral."""
    plain = Sampling()
    neutral = {field.name: getattr(plain, field.name) for field in dataclasses.fields(plain)}
    given = {name: getattr(sampling, name) for name in ReplyOptions.__annotations__ if name in neutral}
    always = ("max_tokens", "temperature")
    asked = {name: value for name, value in given.items() if name in always or value != neutral[name]}
    return cast(ReplyOptions, asked)
