"""Columns of a data set that hold text, a prompt and its reply, or conversations: named by the user, or found by name.

The names are those that published data sets use (Alpaca: instruction, input, output; ShareGPT: conversations of from
and value; OpenAI: messages of role and content; TRL: prompt with completion, or with chosen and rejected). Nothing is
guessed from the content.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

from seedbed.core.config import setting
from seedbed.core.errors import UsageError

TEXT = ("text", "content", "body", "document", "article", "story", "passage", "markdown", "code")
MESSAGES = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
PROMPT = ("prompt", "instruction", "question", "query", "user", "human", "input")
PREFERRED = ("chosen", "preferred_output")
REPLY = (
    *("response", "completion", "answer", "output", "reply", "assistant", *PREFERRED, "target", "solution"),
    *("responses", "completions", "answers", "replies"),
)
CONTEXT = ("input", "context")
SYSTEM = ("system", "system_prompt")
TOOLS = ("tools", "functions")
REJECTED = ("rejected", "non_preferred_output")


@dataclass(frozen=True)
class Columns:
    """Names of columns; "" where there is none."""

    text: str = setting("", "text for a corpus")
    messages: str = setting("", "whole conversations")
    prompt: str = setting("", "questions or prompts")
    reply: str = setting("", "replies")
    context: str = setting("", "what belongs to a prompt besides it, as Alpaca's `input`")
    system: str = setting("", "what the system says before a conversation")
    tools: str = setting("", "functions that may be called in a conversation")
    history: str = setting("", "earlier turns before a prompt: lists of a prompt and its reply")
    label: str = setting("", "whether a reply is wanted: a row with false is left out")
    rejected: str = setting("", "replies that others are preferred to; they are not trained")

    @property
    def has_pairs(self) -> bool:
        """Return whether conversations can be made."""
        return bool(self.messages or (self.prompt and self.reply))

    @property
    def used(self) -> list[str]:
        """Return the columns that conversations are made of, in the order of their reading."""
        first = [self.messages] if self.messages else [self.prompt, self.context, self.reply, self.history]
        return [name for name in (*first, self.system, self.tools, self.label) if name]


def find_columns(names: Iterable[str], told: Columns = Columns()) -> Columns:
    """Return the columns by what was told (UsageError where there is none), else by their names in any case."""
    known = {name.lower(): name for name in names}
    for field in fields(told):
        name = getattr(told, field.name)
        if name and name not in known.values():
            raise UsageError(
                f"there is no column {name!r}", why=f"they are {', '.join(known.values())}", fix="name one of them"
            )

    def one(given: str, candidates: Iterable[str], taken: tuple[str, ...] = ()) -> str:
        return given or next((known[name] for name in candidates if name in known and known[name] not in taken), "")

    prompt = one(told.prompt, PROMPT)
    reply = one(told.reply, REPLY, (prompt,))
    with_input = prompt.lower() in ("instruction", "question")
    context = one(told.context, CONTEXT if with_input else CONTEXT[1:], (prompt, reply)) if prompt else ""
    pairs_told = told.prompt and told.reply and not told.messages
    messages = "" if pairs_told else one(told.messages, MESSAGES if prompt and reply else (*MESSAGES, *PREFERRED))
    return Columns(
        text=one(told.text, TEXT),
        messages=messages,
        prompt=prompt,
        reply=reply,
        context=context,
        system=one(told.system, SYSTEM),
        tools=one(told.tools, TOOLS),
        history=one(told.history, ("history",)),
        label=one(told.label, ("label",)),
        rejected=one(told.rejected, REJECTED),
    )
