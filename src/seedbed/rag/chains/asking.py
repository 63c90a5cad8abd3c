"""What the chains share: asking a model within a plan, adding up what it costs, and the result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seedbed.chat.messages import Usage
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.rag.passages import Passage, Show
from seedbed.rag.prompt_plan import PromptPlan, Template, fit, room_for_reply

NOT_FOUND = "Not in the documents."
"""What a model is told to say, and an answer says, where the passages do not tell."""

_SHORT = 12
"""Words. "I am sorry, but that is not in the documents." has 10; a longer line may speak of documents."""


@dataclass(frozen=True)
class Result:
    """What a chain answers.

    Attributes:
        text: as the model wrote it.
        shown: the passages that a model read, or those the answer was made from, the best first.
        left: passages, and parts of passages, that no prompt had room for.
        calls: of the model.
    """

    text: str
    shown: tuple[Passage, ...]
    left: tuple[Passage, ...] = ()
    usage: Usage = field(default_factory=Usage)
    calls: int = 0


class Asker:
    """Sends a chain's prompts to a model: greedily unless told otherwise, each with room for its reply."""

    def __init__(self, model: ChatModel, options: ReplyOptions, share: int = 4) -> None:
        """``share``: a reply may have one part of so many of the window."""
        self.model, self.options = model, options
        self.room = room_for_reply(model, options.get("max_tokens"), share)
        self.usage, self.calls = Usage(), 0

    def ask(self, plan: PromptPlan) -> str:
        """The reply's text."""
        settings: ReplyOptions = {"temperature": 0.0, **self.options, "max_tokens": plan.room}
        reply = self.model.reply(plan.messages, **settings)
        self.usage, self.calls = self.usage + reply.usage, self.calls + 1
        return reply.text

    def plan(self, template: Template, passages: Sequence[Passage], show: Show, **values: str) -> PromptPlan:
        """See :func:`seedbed.rag.prompt_plan.fit`."""
        return fit(self.model, template, passages, self.room, show, **values)

    def result(self, text: str, shown: Sequence[Passage], left: Sequence[Passage] = ()) -> Result:
        """The chain's result, with what it cost."""
        return Result(text, tuple(shown), tuple(left), self.usage, self.calls)


def is_refusal(text: str) -> bool:
    """Whether a reply says that the passages do not tell: nothing at all, or NOT_FOUND in a short first line."""
    first = text.strip().partition("\n")[0].casefold()
    return not first or (NOT_FOUND.rstrip(".").casefold() in first and len(first.split()) <= _SHORT)
