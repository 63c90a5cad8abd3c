"""Chat models of a few lines for tests: they count words, and keep what they were asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedbed.chat.messages import Delta, Message, Reply, Usage

NAMES = {"system": "System", "user": "Human", "assistant": "AI", "tool": "Tool"}


def words_of(message: Message) -> int:
    """Words of ``Human: hello``, as LangChain writes a message."""
    return len(f"{NAMES[message.role]}: {message.text}".split())


@dataclass
class WordModel:
    """A token is a word; a prompt is its messages and nothing else. Answers with ``answers`` in turn, then "yes"."""

    context_window: int = 10_000
    answers: list[str] = field(default_factory=list)
    asked: list[tuple[Message, ...]] = field(default_factory=list)
    name: str = "words"

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def count_prompt(self, messages: Sequence[Message]) -> int:
        assert messages, "no template renders nothing"
        return sum(map(words_of, messages))

    def reply(self, messages: Sequence[Message], **options: Any) -> Reply:
        assert self.count_prompt(messages) + options.get("max_tokens", 0) <= self.context_window
        self.asked.append(tuple(messages))
        text = self.answers.pop(0) if self.answers else "yes"
        return Reply(text, usage=Usage(self.count_prompt(messages), len(text.split())), model=self.name)

    def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Delta]:
        reply = self.reply(messages, **options)
        yield Delta(reply.text)
        yield Delta(reply=reply)
