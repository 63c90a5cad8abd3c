"""Messages, calls, replies and what they cost, to and from OpenAI's wire form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from seedbed.core.errors import DataError

Role = Literal["system", "user", "assistant", "tool"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant", "tool")
Finish = Literal["stop", "length", "tool_calls"]
"""Why a reply ends: it was said, the limit or the full window, a call of a tool."""


@dataclass(frozen=True)
class Tool:
    """A function that a model may call; ``parameters`` is a JSON schema of an object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def to_wire(self) -> dict[str, Any]:
        """As ``tools`` of a request holds it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class ToolCall:
    """A call that a model asks for; ``arguments`` is a JSON object as text, as the model wrote it."""

    id: str
    name: str
    arguments: str

    def to_wire(self) -> dict[str, Any]:
        """As a message holds it."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> ToolCall:
        """Raises DataError for what is no call."""
        try:
            return cls(str(data["id"]), str(data["function"]["name"]), str(data["function"]["arguments"]))
        except (KeyError, TypeError) as error:
            raise _malformed("a tool call", error) from error


@dataclass(frozen=True)
class Message:
    """One turn of a conversation. ``tool_call_id`` says which call a message of role "tool" answers."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None

    def to_wire(self) -> dict[str, Any]:
        """As ``messages`` of a request holds it."""
        wire: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            wire["tool_calls"] = [call.to_wire() for call in self.tool_calls]
        if self.tool_call_id is not None:
            wire["tool_call_id"] = self.tool_call_id
        return wire

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Message:
        """Read a message; text parts are joined, "developer" is the system. Raises DataError for what is none."""
        try:
            role = {"developer": "system"}.get(data["role"], data["role"])
            if role not in ROLES:
                raise ValueError(f"there is no role {role!r}")
            content = data.get("content") or ""
            if not isinstance(content, str):
                content = "".join(part["text"] for part in content)
            calls = tuple(ToolCall.from_wire(call) for call in data.get("tool_calls") or ())
            return cls(role, content, calls, data.get("tool_call_id"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _malformed("a message", error) from error


@dataclass(frozen=True)
class Usage:
    """How many tokens were read and written."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)

    def to_wire(self) -> dict[str, int]:
        """As an answer holds it."""
        total = self.prompt_tokens + self.completion_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens, "total_tokens": total}

    @classmethod
    def from_wire(cls, data: Mapping[str, Any] | None) -> Usage:
        """None, as some servers answer, is nothing."""
        data = data or {}
        return cls(int(data.get("prompt_tokens") or 0), int(data.get("completion_tokens") or 0))


@dataclass(frozen=True)
class Reply:
    """A whole answer.

    Attributes:
        logprobs: natural logarithms of the probabilities of its tokens, where they were asked for.
        model: which model answered.
    """

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    finish: Finish = "stop"
    logprobs: tuple[float, ...] | None = None
    model: str = ""

    @property
    def message(self) -> Message:
        """What to add to the conversation."""
        return Message("assistant", self.text, self.tool_calls)


@dataclass(frozen=True)
class Delta:
    """A piece of a streamed answer; ``reply`` is set on the last one, and is the whole answer."""

    text: str = ""
    reply: Reply | None = None


def _malformed(what: str, error: Exception) -> DataError:
    why = f"{type(error).__name__}: {error}"
    return DataError(f"{what} cannot be read", why=why, fix="send it in the form of OpenAI's chat completions")
