"""The common part of the chains that ask a model: prompts that fit, the calls, their cost, and a trace of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from seedbed.chat.messages import Usage
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.tracing import TraceSpan, span
from seedbed.documents.document import Chunk
from seedbed.inference.parameters import Grammar
from seedbed.rag.passages import ChainResult, Passage, passages_of
from seedbed.rag.prompt_plan import PromptPlan, Show, Template, fit, label_of, room_for_reply


@dataclass
class ChainRun:
    """One question to a model about passages; greedy unless ``options`` say otherwise.

    Attributes:
        passages: all of them, whole.
        room: tokens of each reply at most.
        trace: the span of the chain.
    """

    model: ChatModel
    question: str
    passages: Sequence[Passage]
    show: Show
    options: ReplyOptions
    room: int
    trace: TraceSpan
    usage: Usage = field(default_factory=Usage)
    calls: int = 0

    def plan(self, template: Template, passages: Sequence[Passage], **values: str) -> PromptPlan:
        """Write passages into a prompt that fits; see :func:`seedbed.rag.prompt_plan.fit`."""
        return fit(self.model, template, passages, self.room, self.show, question=self.question, **values)

    def ask(self, plan: PromptPlan, grammar: Grammar | None = None) -> str:
        """Send a prompt to the model and return the reply's text."""
        settings: ReplyOptions = {"temperature": 0.0, **self.options, "max_tokens": plan.room}
        if grammar is not None:
            settings["grammar"] = grammar
        reply = self.model.reply(plan.messages, **settings)
        self.usage, self.calls = self.usage + reply.usage, self.calls + 1
        return reply.text

    def ask_each(self, template: Template) -> tuple[list[Passage], list[Passage]]:
        """Ask about each passage alone, about a long one in parts.

        Returns the replies as passages (:func:`reply_passage`), and the passages as they were shown.
        """
        replies: list[Passage] = []
        shown: list[Passage] = []
        left = list(self.passages)
        while left:
            plan = self.plan(template, left[:1])
            left[:1] = plan.left
            replies.append(reply_passage(plan.shown[0], self.ask(plan)))
            shown += plan.shown
        return replies, shown

    def result(self, text: str, shown: Sequence[Passage], left: Sequence[Passage] = ()) -> ChainResult:
        """Return the chain's result, with its cost."""
        return ChainResult(text, tuple(shown), tuple(left), self.usage, self.calls)


@contextmanager
def chain_run(
    name: str,
    template: Template,
    model: ChatModel,
    question: str,
    chunks: Sequence[Chunk],
    show: Show,
    options: ReplyOptions,
    share: int = 4,
) -> Iterator[ChainRun]:
    """Begin a chain, traced under its name and the label of its template.

    Args:
        share: a reply may have one part of so many of the window.
    """
    told = {"passages": len(chunks), "prompt": label_of(name, template)}
    room = room_for_reply(model, options.get("max_tokens"), share)
    with span(options.get("trace"), "chain", name, **told) as trace:
        yield ChainRun(model, question, passages_of(chunks), show, options, room, trace)


def reply_passage(passage: Passage, text: str) -> Passage:
    """Return a reply in its passage's place: with its source, and quoted, because a document may speak in it."""
    return replace(passage, chunk=replace(passage.chunk, text=text), start=0, end=len(text))
