"""The protocol of chat models: they answer messages. The local engine and any OpenAI-compatible URL are two.

Chains, memory and evaluation take a :class:`ChatModel` and know nothing else of it. A :class:`ScoringModel` also tells
how probable an answer of the caller's is, which needs the model's logits: a local one, or a server that echoes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, TypedDict, Unpack, runtime_checkable

from seedbed.chat.messages import Delta, Message, Reply, Tool
from seedbed.chat.tracing import Trace
from seedbed.inference.parameters import Grammar


class ReplyOptions(TypedDict, total=False):
    """Options of a reply; those that are left out are as the model has them.

    ``tool_choice`` is "auto", "none", "required" or a tool's name; a local reply has at most one call
    unless ``parallel_tool_calls`` is True. ``grammar`` is the form that the reply must have.
    ``repetition_guard`` False lets a reply repeat itself up to its limit; one with a form of its own always may.
    ``logprobs`` True asks for those of the reply's tokens. ``trace`` is told of start, tokens and end.
    """

    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float
    stop: Sequence[str]
    seed: int
    repetition_guard: bool
    logprobs: bool
    grammar: Grammar | None
    tools: Sequence[Tool]
    tool_choice: str
    parallel_tool_calls: bool
    trace: Trace | None


class ChatModel(Protocol):
    """Answers messages."""

    @property
    def name(self) -> str:
        """Says which model it is, in traces and answers."""

    @property
    def context_window(self) -> int:
        """Tokens that prompt and reply together may have."""

    def reply(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Reply:
        """The whole answer. Raises SeedbedError where there is none; CapacityError: the messages do not fit."""

    def stream(self, messages: Sequence[Message], **options: Unpack[ReplyOptions]) -> Iterator[Delta]:
        """The answer as it is written; the texts of all pieces join to the whole reply's."""

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a text."""

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt, template and all."""


@runtime_checkable
class ScoringModel(Protocol):
    """Knows how probable an answer is."""

    def score(self, messages: Sequence[Message], answer: str, *, end: bool = False) -> tuple[float, ...]:
        """Natural logarithms of the probability of each token of ``answer`` as the reply to ``messages``.

        ``end``: count the end token too: the probability that this is the whole answer, not how one begins.
        """


def scoring(model: object) -> ScoringModel | None:
    """The model as one that scores, or None where it cannot: a server's has the method, but needs its help."""
    if not isinstance(model, ScoringModel) or not getattr(model, "can_score", lambda: True)():
        return None
    return model
