"""Messages, tool calls, replies and their usage, to and from OpenAI's wire form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from seedbed.chat.repetition import Repetition
from seedbed.core.errors import DataError
from seedbed.inference.request import Token

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
FinishReason = Literal["stop", "length", "tool_calls"]
"""Complete; cut off, by the limit, the full window or the repetition guard; calling tools."""


@dataclass(frozen=True)
class Tool:
    """A function that a model may call; ``parameters`` is a JSON schema of an object.

    ``strict``: rather refuse the tool than leave a keyword out of its schema that no grammar can keep.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    strict: bool = False

    def to_wire(self) -> dict[str, Any]:
        """Return it as ``tools`` of a request holds it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function | ({"strict": True} if self.strict else {})}


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asks for; ``arguments`` is a JSON object as text, as the model wrote it."""

    id: str
    name: str
    arguments: str

    def to_wire(self) -> dict[str, Any]:
        """Return it as a message holds it."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> ToolCall:
        """Read a call. Raises DataError for what is none."""
        try:
            return cls(str(data["id"]), str(data["function"]["name"]), str(data["function"]["arguments"]))
        except (KeyError, TypeError) as error:
            raise _malformed("a tool call", error) from error


@dataclass(frozen=True)
class ToolCallDelta:
    """A part of the reply's call number ``index``: the first one of each has its ``name``, all add to the arguments."""

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class TextPart:
    """Text in a message."""

    text: str

    def to_wire(self) -> dict[str, Any]:
        """Return it as ``content`` of a message holds it."""
        return {"type": "text", "text": self.text}


@dataclass(frozen=True, init=False)
class Message:
    """One turn of a conversation; a plain text is accepted for content of one part."""

    role: Role
    content: tuple[TextPart, ...]
    tool_calls: tuple[ToolCall, ...]
    tool_call_id: str | None  # of the call that a message of role "tool" answers

    def __init__(
        self,
        role: Role,
        content: str | Iterable[TextPart],
        tool_calls: Iterable[ToolCall] = (),
        tool_call_id: str | None = None,
    ) -> None:
        parts = ((TextPart(content),) if content else ()) if isinstance(content, str) else tuple(content)
        values = {"role": role, "content": parts, "tool_calls": tuple(tool_calls), "tool_call_id": tool_call_id}
        for name, value in values.items():
            object.__setattr__(self, name, value)  # the class is frozen

    @property
    def text(self) -> str:
        """All its text."""
        return "".join(part.text for part in self.content)

    def to_wire(self) -> dict[str, Any]:
        """Return it as ``messages`` of a request holds it; one part of text as a plain text."""
        content = [part.to_wire() for part in self.content] if len(self.content) > 1 else self.text
        wire: dict[str, Any] = {"role": self.role, "content": content}
        if self.tool_calls:
            wire["tool_calls"] = [call.to_wire() for call in self.tool_calls]
        if self.tool_call_id is not None:
            wire["tool_call_id"] = self.tool_call_id
        return wire

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Message:
        """Read a message; the role "developer" is the system. Raises DataError for what is none."""
        try:
            role = {"developer": "system"}.get(data["role"], data["role"])
            if role not in ROLES:
                raise ValueError(f"there is no role {role!r}")
            content = data.get("content") or ""
            if not isinstance(content, str):
                content = [TextPart(str(part["text"])) for part in content]
            calls = tuple(ToolCall.from_wire(call) for call in data.get("tool_calls") or ())
            return cls(role, content, calls, data.get("tool_call_id"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _malformed("a message", error) from error


@dataclass(frozen=True)
class Usage:
    """The number of tokens read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    def to_wire(self) -> dict[str, int]:
        """Return it as an answer holds it."""
        total = self.prompt_tokens + self.completion_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens, "total_tokens": total}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any] | None) -> Usage:
        """Read a usage; None, as some servers answer, counts nothing."""
        data = data or {}
        return cls(int(data.get("prompt_tokens") or 0), int(data.get("completion_tokens") or 0))


@dataclass(frozen=True)
class Reply:
    """A whole answer, with the natural logarithms of its tokens' probabilities where they were asked for."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: FinishReason = "stop"
    logprobs: tuple[float, ...] | None = None
    model: str = ""
    repetition: Repetition | None = None  # the loop that ended it

    def trimmed(self) -> Reply:
        """Return it without the further copies of what it repeated; a whole reply of a chat model comes so."""
        loop = self.repetition
        if loop is None:
            return self
        logprobs = None if self.logprobs is None else self.logprobs[: loop.kept_tokens]
        return replace(self, text=self.text[: loop.kept_characters], logprobs=logprobs)

    @property
    def message(self) -> Message:
        """The reply as the conversation's next message."""
        return Message("assistant", self.text, self.tool_calls)


@dataclass(frozen=True)
class Delta:
    """The text and calls that a part of a streamed answer adds."""

    text: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    token: Token | None = None  # that it came with, where a model of this process writes
    reply: Reply | None = None  # the whole answer, with the last part that a chat model streams


def _malformed(what: str, error: Exception) -> DataError:
    why = f"{type(error).__name__}: {error}"
    return DataError(f"{what} cannot be read", why=why, fix="send it in the form of OpenAI's chat completions")
