"""A follow-up question, such as "and the second one?", as one that can be understood, and searched with, by itself.

The model rewrites it, greedily and in few tokens, from the last turns. A small model may write anything, so a rewriting
that is empty, no new question, far too long, leaves out a word of the follow-up or brings a new one is not used: then
the question stands with the words of the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seedbed.chat.messages import Message, Usage
from seedbed.chat.model import ChatModel
from seedbed.chat.tracing import Trace, span
from seedbed.core.errors import CapacityError
from seedbed.rag.prompt_plan import Template, fill, shorten
from seedbed.vectors.words import terms, words

REWRITE: Template = (
    Message("user", "Question: How deep are carrots sown?\nAnswer: Two centimetres deep.\nFollow-up: And beans?"),
    Message("assistant", "Rewritten: How deep are beans sown?"),
    Message("user", "Question: Who designed the old bridge?\nAnswer: Anna Lind.\nFollow-up: When was it opened?"),
    Message("assistant", "Rewritten: When was the old bridge opened?"),
    Message("user", "{history}\nFollow-up: {question}"),
)
"""The conversation before a follow-up, with two examples of a rewriting."""
TURNS = 2
"""Questions with their answers that the model is shown."""
TURN_TOKENS = 64
"""Tokens of each of them at most."""
MOST_TOKENS = 48
"""Tokens of a rewriting at most."""
_SOURCES = "\n\n[1] "
"""The beginning of an answer's sources, which say nothing to a follow-up."""
_POINTING = {"on", "els", "too", "also"}
"""Stems of "one", "else" and others, which point to what was told; a rewriting need not repeat them."""
_LONGER = 12
"""Words that a rewriting may have beyond those of the follow-up and the question before it."""


@dataclass(frozen=True)
class Rewriting:
    """A question that stands alone, and what writing it cost."""

    question: str
    usage: Usage = field(default_factory=Usage)


def rewrite(
    model: ChatModel | None, history: Sequence[Message], question: str, trace: Trace | None = None
) -> Rewriting:
    """Return a follow-up as a question of its own; without a model, with the words of the question before it."""
    turns = turns_of(history)[-TURNS:]
    if not turns:
        return Rewriting(question)
    usage = Usage()
    if model is not None:
        with span(trace, "chain", "rewrite", turns=len(turns), content={"question": question}) as work:
            written, usage = _written(model, turns, question, trace)
            told = " ".join(part for turn in turns for part in turn)
            if is_sound(written, question, turns[-1][0], told):
                work.data["content"] = {"rewritten": written}
                return Rewriting(written, usage)
    return Rewriting(f"{turns[-1][0]} {question}", usage)


def turns_of(history: Sequence[Message]) -> list[tuple[str, str]]:
    """Return the questions of a conversation with their answers; one without an answer has an empty one."""
    turns: list[tuple[str, str]] = []
    for message in history:
        text = " ".join(message.text.partition(_SOURCES)[0].split())
        if message.role == "user" and text:
            turns.append((text, ""))
        elif message.role == "assistant" and turns:
            turns[-1] = turns[-1][0], text
    return turns


def is_sound(written: str, question: str, before: str, told: str) -> bool:
    """Tell whether a rewriting can be used: new, no essay, with the follow-up's words and no word that was not told."""
    said, meant = words(written), set(terms(written))
    new = bool(said) and said not in (words(question), words(before))
    short = len(said) <= len(words(question)) + len(words(before)) + _LONGER
    return new and short and set(terms(question)) - _POINTING <= meant <= set(terms(f"{told} {question}"))


def _written(
    model: ChatModel, turns: Sequence[tuple[str, str]], question: str, trace: Trace | None
) -> tuple[str, Usage]:
    """Return the first line that the model writes, or nothing where the conversation does not fit in its window."""
    limit = min(TURN_TOKENS, model.context_window // 8)
    shown = [(shorten(model, asked, limit), shorten(model, answer, limit)) for asked, answer in turns]
    history = "\n".join(f"Question: {asked}\nAnswer: {answer}" for asked, answer in shown)
    messages = fill(REWRITE, history=history, question=question)
    if model.count_prompt(messages) + MOST_TOKENS > model.context_window:
        return "", Usage()
    try:
        reply = model.reply(messages, temperature=0.0, max_tokens=MOST_TOKENS, stop=["\n"], trace=trace)
    except CapacityError:
        return "", Usage()
    return reply.text.strip().removeprefix("Rewritten:").strip(), reply.usage
