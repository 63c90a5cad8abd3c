"""A chat model under instructions: the system message of a conversation stands before each prompt of a chain.

Chains write prompts of their own and know no conversation; so what the user asked of every answer ("in one sentence",
"in French") is put before them here, and counted with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Unpack

from seedbed.chat.messages import Delta, Message, Reply
from seedbed.chat.model import ChatModel, ReplyOptions, scoring
from seedbed.core.errors import UsageError


@dataclass(frozen=True)
class InstructedModel:
    """``model`` with a system message; implements ChatModel, and ScoringModel where ``model`` does."""

    model: ChatModel
    instructions: str

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.model.name

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply together may have, instructions and all."""
        return self.model.context_window

    def reply(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Reply:
        """Return the whole answer to instructions and messages."""
        return self.model.reply(self._told(messages), **options)

    def stream(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Iterator[Delta]:
        """Yield the answer to instructions and messages as it is written."""
        return self.model.stream(self._told(messages), **options)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return self.model.count_tokens(text)

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt, instructions, template and all."""
        return self.model.count_prompt(self._told(messages))

    def can_score(self) -> bool:
        """Tell whether the model knows how probable an answer is."""
        return scoring(self.model) is not None

    def score(self, messages: Sequence[Message], answer: str, *, end: bool = False) -> tuple[float, ...]:
        """Return natural logarithms of the probability of each token of an answer to instructions and messages.

        Raises UsageError where the model knows none.
        """
        if (scorer := scoring(self.model)) is None:
            raise UsageError("the model tells no probabilities", why=self.name, fix="use a local model")
        return scorer.score(self._told(messages), answer, end=end)

    def _told(self, messages: Sequence[Message]) -> list[Message]:
        return [Message("system", self.instructions), *messages]


def instructed(model: ChatModel, history: Sequence[Message]) -> ChatModel:
    """Return a model under the system messages of a conversation; the model itself where there are none."""
    told = "\n\n".join(one.text for one in history if one.role == "system" and one.text.strip())
    return InstructedModel(model, told) if told else model
