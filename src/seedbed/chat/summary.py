"""Memory with a running summary: the latest turns as they are, older ones as a summary that the model writes.

As LangChain's ConversationSummaryBufferMemory: turns stay up to a token budget, and what falls out goes into the
summary that there is. The summary is shown as an answer of the model's, which it is, and not as a system message: what
somebody or some tool once said must not come back with more authority. Nothing is cut: what does not fit in the window
beside the summary goes into it piece by piece.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from seedbed.chat.memory import View, place_within, view_from
from seedbed.chat.messages import Message
from seedbed.chat.model import ChatModel
from seedbed.chat.prompts import Prompt
from seedbed.chat.tracing import Trace, span
from seedbed.core.errors import CapacityError
from seedbed.inference.parameters import check_range

SUMMARIZE = Prompt(
    """\
This is a summary of a conversation so far:
{summary}

The conversation went on:
{lines}

Write the new summary of all of it in a few sentences. Keep names, numbers and what was decided.""",
    "summarize",
)
"""``summary`` is the one so far, or NO_SUMMARY; ``lines`` are the turns that fall out, each line with its role."""
NO_SUMMARY = "(nothing yet)"
ASK_SUMMARY = "What have we talked about so far?"  # the question that a summary is shown as the answer of


@dataclass(frozen=True)
class Summary:
    """A summary and what it stands for: the first ``messages`` messages of the conversation, with that hash."""

    text: str = ""
    messages: int = 0
    digest: str = ""

    def begins(self, messages: Sequence[Message]) -> bool:
        """Return True when it is of this conversation."""
        known = self.messages
        return not known or (known <= len(messages) and self.digest == digest(messages[:known]))


@dataclass
class SummaryMemory:
    """The latest turns that add at most ``tokens`` tokens to the prompt, and a summary of those before.

    It remembers the summary of one conversation, and begins again when it is shown another one. Raises UsageError for a
    size out of range.
    """

    tokens: int
    summary_tokens: int = 128
    prompt: Prompt = SUMMARIZE
    summary: Summary = field(default_factory=Summary)  # keep it with the conversation to go on another day

    def __post_init__(self) -> None:
        check_range("tokens", self.tokens, 0)
        check_range("summary_tokens", self.summary_tokens, 1)

    def view(self, messages: Sequence[Message], model: ChatModel, trace: Trace | None = None) -> View:
        """Summarizes what has fallen out since the last time, if anything has; if that fails, nothing is changed.

        Raises CapacityError where the model's window is too short to summarize in, and what the model raises.
        """
        old = self.summary if self.summary.begins(messages) else Summary()
        place = max(old.messages, place_within(messages, model, self.tokens))
        lines = [_line(one) for one in messages[old.messages : place] if one.role != "system"]
        text = old.text
        if lines:
            with span(trace, "chain", "summarize", messages=len(lines), prompt=self.prompt.label):
                text = self._fold(text, lines, model, trace)
        self.summary = Summary(text, place, digest(messages[:place])) if lines else old
        view = view_from(messages, place)
        return View(_with_summary(view.messages, text), view.left_out, text)

    def _fold(self, summary: str, lines: Sequence[str], model: ChatModel, trace: Trace | None) -> str:
        """Take lines into a summary, as many at a time as the window holds; a line that is too long is halved."""
        waiting, batch = deque(lines), list[str]()
        while waiting or batch:
            if waiting and self._fits(summary, [*batch, waiting[0]], model):
                batch.append(waiting.popleft())
            elif batch:
                asked = [Message("user", self._ask(summary, batch))]
                reply = model.reply(asked, max_tokens=self.summary_tokens, temperature=0.0, trace=trace)
                summary, batch = reply.text.strip() or summary, []  # a model that says nothing forgets nothing
            else:
                waiting.extendleft(reversed(_halves(waiting.popleft(), model)))
        return summary

    def _fits(self, summary: str, lines: Sequence[str], model: ChatModel) -> bool:
        asked = [Message("user", self._ask(summary, lines))]
        return model.count_prompt(asked) + self.summary_tokens <= model.context_window

    def _ask(self, summary: str, lines: Sequence[str]) -> str:
        return self.prompt.fill(summary=summary or NO_SUMMARY, lines="\n".join(lines))


def digest(messages: Sequence[Message]) -> str:
    """SHA-256 of messages."""
    return hashlib.sha256(json.dumps([one.to_wire() for one in messages], sort_keys=True).encode()).hexdigest()


def _line(message: Message) -> str:
    calls = (f" [calls {call.name} with {call.arguments}]" for call in message.tool_calls)
    return f"{message.role}: {message.text}{''.join(calls)}"


def _with_summary(messages: tuple[Message, ...], text: str) -> tuple[Message, ...]:
    """Put a summary after the system messages that a view begins with."""
    if not text:
        return messages
    first = next((place for place, one in enumerate(messages) if one.role != "system"), len(messages))
    told = (Message("user", ASK_SUMMARY), Message("assistant", text))
    return (*messages[:first], *told, *messages[first:])


def _halves(line: str, model: ChatModel) -> tuple[str, str]:
    """Cut a line in two at the space nearest before its middle, else in the middle."""
    middle = len(line) // 2
    if not middle:
        why = f"it holds {model.context_window} tokens, which the question and the summary fill"
        fix = "use another memory (buffer, window, tokens), fewer tokens for the summary, or a longer window"
        raise CapacityError("the model's window is too short to summarize in", why=why, fix=fix)
    middle = line.rfind(" ", 1, middle) + 1 or middle
    return line[:middle], line[middle:]
