"""Saved conversations, as `seedbed chat` lists and deletes them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from seedbed.chat.conversations import Conversations
from seedbed.cli.common import count_text, print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.progress import say


def manage_saved(delete: str | None, as_json: bool) -> None:
    """Delete a saved conversation, or list all."""
    with Conversations.of(Library()) as saved:
        if delete is not None:
            saved.delete(delete)
            say(f"{delete} is deleted")
        else:
            list_saved(saved, as_json)


def list_saved(saved: Conversations, as_json: bool) -> None:
    """Print name, messages, tokens and last use of each saved conversation."""
    found = saved.all()
    if as_json:
        print_json([asdict(one) | {"created": _time(one.created), "updated": _time(one.updated)} for one in found])
        return
    tokens = [count_text(one.usage.prompt_tokens + one.usage.completion_tokens) for one in found]
    rows = [[one.name, str(one.messages), count, _time(one.updated)] for one, count in zip(found, tokens, strict=True)]
    print_table(["name", "messages", "tokens", "last used"], rows, right=(1, 2))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
