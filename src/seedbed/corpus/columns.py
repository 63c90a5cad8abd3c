"""Columns of a data set that hold text, a prompt and its reply, or conversations: named by the user, or found by name.

The names are those that published data sets use (Alpaca: instruction, input, output; ShareGPT: conversations of from
and value; OpenAI: messages of role and content). Nothing is guessed from the content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from seedbed.core.errors import UsageError

TEXT = ("text", "content", "body", "document", "article", "story", "passage", "markdown", "code")
MESSAGES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
PROMPT = ("prompt", "instruction", "question", "query", "user", "human", "input")
REPLY = ("response", "completion", "answer", "output", "reply", "assistant", "chosen", "target", "solution")
CONTEXT = ("input", "context")
SYSTEM = ("system", "system_prompt")
_ROLES = {
    "system": "system",
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "assistant"),
}
Message = dict[str, str]


@dataclass(frozen=True)
class Columns:
    """Names of columns; "" where there is none."""

    text: str = ""
    messages: str = ""
    prompt: str = ""
    reply: str = ""
    context: str = ""  # what belongs to a prompt besides it, as Alpaca's ``input``
    system: str = ""

    @property
    def has_pairs(self) -> bool:
        """Return whether conversations can be made."""
        return bool(self.messages or (self.prompt and self.reply))


def find_columns(names: Iterable[str], told: Columns = Columns()) -> Columns:
    """Return the columns by what was told (UsageError where there is none), else by their names in any case."""
    known = {name.lower(): name for name in names}
    for field in fields(told):
        name = getattr(told, field.name)
        if name and name not in known.values():
            raise UsageError(
                f"there is no column {name!r}", why=f"they are {', '.join(known.values())}", fix="name one of them"
            )

    def one(given: str, candidates: tuple[str, ...], taken: tuple[str, ...] = ()) -> str:
        return given or next((known[name] for name in candidates if name in known and known[name] not in taken), "")

    prompt = one(told.prompt, PROMPT)
    reply = one(told.reply, REPLY, (prompt,))
    context = one(told.context, CONTEXT, (prompt, reply)) if prompt.lower() in ("instruction", "question") else ""
    return Columns(
        one(told.text, TEXT), one(told.messages, MESSAGES), prompt, reply, told.context or context, one("", SYSTEM)
    )


def conversation(row: Mapping[str, Any], columns: Columns) -> list[Message] | None:
    """Return a row as messages that end with an assistant's; None where it is none."""
    if columns.messages:
        return _messages(row.get(columns.messages))
    prompt, reply = _text(row.get(columns.prompt)), _text(row.get(columns.reply))
    if not prompt or not reply:
        return None
    context, system = _text(row.get(columns.context)), _text(row.get(columns.system))
    asked = {"role": "user", "content": f"{prompt}\n\n{context}" if context else prompt}
    start = [{"role": "system", "content": system}] if system else []
    return [*start, asked, {"role": "assistant", "content": reply}]


def _messages(value: object) -> list[Message] | None:
    if not isinstance(value, list):
        return None
    found: list[Message] = []
    for entry in value:
        if not isinstance(entry, dict):
            return None
        role = _ROLES.get(str(entry.get("role", entry.get("from", ""))).lower())
        content = _text(entry.get("content", entry.get("value")))
        if role is None or not content:
            return None
        found.append({"role": role, "content": content})
    while found and found[-1]["role"] != "assistant":
        found.pop()
    turns = found[1:] if found and found[0]["role"] == "system" else found
    alternating = all(turn["role"] == ("user", "assistant")[at % 2] for at, turn in enumerate(turns))
    return found if turns and alternating else None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
