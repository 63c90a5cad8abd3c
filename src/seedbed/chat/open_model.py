"""Choosing a model: by name from the library, by URL from a server, or the first whose window holds the prompt."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urldefrag

from seedbed.chat.messages import Message
from seedbed.chat.model import ChatModel
from seedbed.core.errors import CapacityError, UsageError

if TYPE_CHECKING:
    from seedbed.chat.local import LocalModel
    from seedbed.chat.remote import RemoteModel
    from seedbed.core.artifacts import Library

KEY_VARIABLE = "SEEDBED_KEY"  # the environment variable that holds the key of servers named by URL


def open_model(
    reference: str, library: Library | None = None, *, key: str | None = None, window: int | None = None
) -> LocalModel | RemoteModel:
    """The model that ``NAME``, an id, ``URL`` or ``URL#NAME`` names. A URL is not asked before it is needed.

    For a server: its ``key``, the environment's ``SEEDBED_KEY`` unless given, and the ``window`` of one that does not
    say. Raises NotFoundError where there is no model of that name, UsageError where the URL is none.
    """
    if is_url(reference):
        from seedbed.chat.remote import RemoteModel

        url, name = urldefrag(reference)
        return RemoteModel(url, name or None, key or os.environ.get(KEY_VARIABLE) or None, window=window)
    from seedbed.chat.local import LocalModel  # torch: not before it is needed

    return LocalModel.open(reference, library)


def is_url(reference: str) -> bool:
    """Return True for a URL: no name in a library holds its characters."""
    return "://" in reference


def first_that_fits(models: Sequence[ChatModel], messages: Sequence[Message], room: int = 1) -> ChatModel:
    """The first model whose window holds the messages and ``room`` tokens of a reply; the preferred one comes first.

    Raises CapacityError where there is none, UsageError where there are no models.
    """
    if not models:
        raise UsageError("there is no model to choose", why="the list is empty", fix="give at least one model")
    sizes = []
    for model in models:
        needed = model.count_prompt(messages) + room
        if needed <= model.context_window:
            return model
        sizes.append(f"{model.name} holds {model.context_window} of {needed}")
    why, fix = f"in tokens: {'; '.join(sizes)}", "shorten the messages, or add a model with a longer window"
    raise CapacityError("the messages fit in no model's window", why=why, fix=fix)
