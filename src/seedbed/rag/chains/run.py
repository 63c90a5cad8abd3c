"""The common part of the chains that ask a model: prompts that fit, replies as they are written, their cost, a trace.

A chain is written once, as a generator of the text that its model writes; called, it collects that and returns the
result. So streaming is the one way, and closing the generator ends the reply under way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from typing import Generic, ParamSpec

from seedbed.chat.messages import FinishReason, Reply, Usage
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.tracing import TraceSpan, span
from seedbed.documents.document import Chunk
from seedbed.inference.parameters import Grammar
from seedbed.rag.passages import ChainResult, Passage, passages_of
from seedbed.rag.prompt_plan import WINDOW, PromptLimits, PromptPlan, Show, Template, fit, label_of, room_for_reply

P = ParamSpec("P")
Writing = Generator[str, None, ChainResult]
"""The text that a model writes for a chain, piece by piece; the chain's result is the generator's return value."""


class StreamedChain(Generic[P]):
    """A chain as a function that returns the result; ``stream`` yields what the model writes before it."""

    def __init__(self, stream: Callable[P, Writing]) -> None:
        self.stream = stream
        update_wrapper(self, stream)

    def __call__(self, *args: P.args, **options: P.kwargs) -> ChainResult:
        writing = self.stream(*args, **options)
        while True:
            try:
                next(writing)
            except StopIteration as end:
                result: ChainResult = end.value
                return result


@dataclass
class ChainRun:
    """One question to a model about passages; greedy unless ``options`` say otherwise.

    Attributes:
        template: of the first prompt.
        passages: all of them, whole.
        room: tokens of each reply at most.
        trace: the span of the chain.
        finish: why the last reply ended.
    """

    model: ChatModel
    question: str
    template: Template
    passages: Sequence[Passage]
    show: Show
    options: ReplyOptions
    room: int
    trace: TraceSpan
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    finish: FinishReason = "stop"

    def plan(
        self, template: Template, passages: Sequence[Passage], limits: PromptLimits = WINDOW, **values: str
    ) -> PromptPlan:
        """Write passages into a prompt that fits; see :func:`seedbed.rag.prompt_plan.fit`."""
        return fit(self.model, template, passages, self.room, self.show, limits, question=self.question, **values)

    def one_prompt(self, limits: PromptLimits = WINDOW) -> PromptPlan:
        """Write as many of the passages as fit into the first template."""
        return self.plan(self.template, self.passages, limits)

    def ask(
        self, plan: PromptPlan, grammar: Grammar | None = None, enough: Callable[[str], bool] = lambda text: False
    ) -> Generator[str, None, str]:
        """Yield the model's reply to a prompt as it is written, and return its text; ``enough`` of it ends it."""
        settings: ReplyOptions = {"temperature": 0.0, **self.options, "max_tokens": plan.room}
        if grammar is not None:
            settings["grammar"] = grammar
        text, reply = "", None
        deltas = self.model.stream(plan.messages, **settings)
        try:
            for delta in deltas:
                text, reply = text + delta.text, delta.reply
                if delta.text:
                    yield delta.text
                    if enough(text):
                        break
        finally:
            if isinstance(deltas, Generator):
                deltas.close()
        reply = reply or Reply(text, usage=Usage(self.model.count_prompt(plan.messages), self.model.count_tokens(text)))
        self.usage, self.calls, self.finish = self.usage + reply.usage, self.calls + 1, reply.finish
        return reply.trimmed().text

    def ask_each(self, template: Template) -> Generator[str, None, tuple[list[Passage], list[Passage]]]:
        """Ask about each passage alone, about a long one in parts.

        Returns the replies as passages (:func:`reply_passage`), and the passages as they were shown.
        """
        replies: list[Passage] = []
        shown: list[Passage] = []
        left = list(self.passages)
        while left:
            plan = self.plan(template, left[:1])
            left[:1] = plan.left
            text = yield from self.ask(plan)
            replies.append(reply_passage(plan.shown[0], text))
            shown += plan.shown
        return replies, shown

    def result(self, text: str, shown: Sequence[Passage], left: Sequence[Passage] = ()) -> ChainResult:
        """Return the chain's result, with its cost."""
        return ChainResult(text, tuple(shown), tuple(left), self.usage, self.calls, self.finish)


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
        yield ChainRun(model, question, template, passages_of(chunks), show, options, room, trace)


def reply_passage(passage: Passage, text: str) -> Passage:
    """Return a reply in its passage's place: with its source, and quoted, because a document may speak in it."""
    return replace(passage, chunk=replace(passage.chunk, text=text), start=0, end=len(text))
