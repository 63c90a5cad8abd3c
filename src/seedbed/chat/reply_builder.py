"""The reply under construction: token ids in, text, tool calls and log-probabilities out.

One class for the server, the command line and Python, and the one place where a reply that repeats itself is ended
(``repetition.py``). Streamed text joins to exactly the decoded reply: bytes of an
unfinished character wait for the rest, text that may begin a stop string waits until it is clear, and what was shown is
never taken back.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from seedbed.chat.messages import Delta, FinishReason, Reply, ToolCall, ToolCallDelta, Usage
from seedbed.chat.repetition import Repetition, RepetitionGuard
from seedbed.chat.tool_calls import ToolCallReader
from seedbed.inference.request import Token
from seedbed.tokenizers.tokenizer import Tokenizer


@dataclass
class ReplyBuilder:
    """A reply as it grows."""

    tokenizer: Tokenizer
    stop: Sequence[str] = ()  # texts that end the reply before them
    calls_tools: bool = False  # the end of the reply may be tool calls
    wants_logprobs: bool = False
    prompt_tokens: int = 0
    guarded: bool = False  # end it when it repeats itself; see ``repetition.py``
    continues: Sequence[int] = ()  # the text it goes on with, as ids: its first space is then no mark of a beginning
    tokens: list[Token] = field(default_factory=list)  # kept for log-probabilities: all but the end token
    text: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)  # complete but for the last one's arguments
    finish: FinishReason | None = None
    repetition: Repetition | None = None  # the loop that ended it
    written: int = 0

    def __post_init__(self) -> None:
        self._decoder, self._stops = StreamDecoder(self.tokenizer, self.continues), StopScanner(self.stop)
        self._reader = ToolCallReader() if self.calls_tools else None
        self._guard, self._period, self._decoded = RepetitionGuard() if self.guarded else None, 0, 0

    def add(self, token: Token) -> Delta:
        """Take the engine's next token. Returns what it adds; its ``finish`` tells of a stop string too."""
        self.written += 1
        text, token = self._text(token)
        calls: Sequence[ToolCallDelta] = ()
        if self._reader:
            text, calls = self._reader.push(text, bool(token.finish))
        self.text += text
        for call in calls:
            self._extend(call)
        if self.wants_logprobs and token.finish != "end":
            self.tokens.append(token)
        if token.finish:
            self.finish = self._reason(token.finish)
        if self._guard and self._period:
            self.repetition = self._guard.repetition(self._period, self.text)
        return Delta(text, tuple(calls), token)

    @property
    def usage(self) -> Usage:
        """The tokens read and written so far."""
        return Usage(self.prompt_tokens, self.written)

    def reply(self, model: str = "") -> Reply:
        """Return the whole of it; a call that was cut off is there with what it has."""
        logprobs = tuple(token.logprob for token in self.tokens) if self.wants_logprobs else None
        finish, loop = self.finish or "stop", self.repetition
        return Reply(self.text, tuple(self.tool_calls), self.usage, finish, logprobs, model, loop)

    def trim(self) -> None:
        """Leave out the further copies of what it repeated; for a reply that nobody has seen yet."""
        if self.repetition:
            self.text = self.text[: self.repetition.kept_characters]
            self.tokens = self.tokens[: self.repetition.kept_tokens]

    def _text(self, token: Token) -> tuple[str, Token]:
        """Return the text that is certain with a token, and the token: the last one at a stop string or in a loop."""
        text = "" if token.finish == "end" else self._decoder.push(token.id)
        self._decoded += len(text)
        if self._guard and not token.finish:
            self._period = self._guard.add(token.id, self._decoded) or 0
            token = replace(token, finish="length") if self._period else token
        if token.finish:
            text += self._decoder.flush()
        text, stopped = self._stops.push(text)
        if stopped:
            self._period = 0
            return text, replace(token, finish="stop")
        return text + self._stops.flush() if token.finish else text, token

    def _extend(self, call: ToolCallDelta) -> None:
        if call.name:
            self.tool_calls.append(ToolCall(call.id, call.name, call.arguments))
        else:
            last = self.tool_calls[call.index]
            self.tool_calls[call.index] = replace(last, arguments=last.arguments + call.arguments)

    def _reason(self, finish: str) -> FinishReason:
        if finish == "end" and self.tool_calls:
            return "tool_calls"
        return "length" if finish == "length" else "stop"


def deltas_of(tokens: Iterator[Token], builder: ReplyBuilder) -> Iterator[Delta]:
    """Yield what each token adds to a reply, up to its end, the first stop string or a loop."""
    for token in tokens:
        yield builder.add(token)
        if builder.finish:
            return


class StreamDecoder:
    """Decodes one sequence, a token at a time; the bytes of a character wait until it is whole.

    The parts joined are exactly ``Tokenizer.decode`` of all ids, U+FFFD for bytes that are no UTF-8 included; after a
    text that they continue, they are what they add to it.
    """

    def __init__(self, tokenizer: Tokenizer, continues: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = tokenizer.drops_first_space and not any(map(tokenizer.token_bytes, continues))

    def push(self, token: int) -> str:
        """Take one id and return the text that is complete now ("" for a special token)."""
        data = self._tokenizer.token_bytes(token)
        if self._at_start and data:
            data, self._at_start = data.removeprefix(b" "), False
        return self._decoder.decode(data)

    def flush(self) -> str:
        """Return the rest at the end of the sequence: U+FFFD for a character that never became whole."""
        return self._decoder.decode(b"", final=True)


class StopScanner:
    """Passes text on until a stop string, the earliest in the text, holding back what may be the beginning of one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Add text. Returns the text that is safe to show, and True when a stop string was found."""
        self.held += text
        found = [place for stop in self.stops if (place := self.held.find(stop)) >= 0]
        if found:
            shown, self.held = self.held[: min(found)], ""
            return shown, True
        keep = max((_overlap(self.held, stop) for stop in self.stops), default=0)
        shown, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return shown, False

    def flush(self) -> str:
        """Return the text that was held back, when nothing more comes."""
        shown, self.held = self.held, ""
        return shown


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that is a proper beginning of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
