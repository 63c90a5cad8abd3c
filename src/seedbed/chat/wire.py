"""Chat completions on the wire: a request's body from messages and options, a reply from an answer or its chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedbed.chat.failures import RemoteError
from seedbed.chat.messages import FinishReason, Message, Reply, Tool, ToolCall, Usage
from seedbed.chat.options import SAMPLED, stop_texts
from seedbed.chat.rendering import Toolbox
from seedbed.chat.repetition import Repetition
from seedbed.core.errors import DataError, UsageError
from seedbed.inference.parameters import Grammar

_SAME = [name for name in SAMPLED if name not in ("stop", "grammar")]
_MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError)


def body_of(model: str, messages: Sequence[Message], options: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request. Options that are left out are the server's.

    Raises UsageError where tool_choice names no tool, the stop texts are none, or the JSON schema is none.
    """
    body: dict[str, Any] = {"model": model, "messages": [message.to_wire() for message in messages]}
    body.update({name: options[name] for name in _SAME if name in options})
    if "stop" in options:
        body["stop"] = list(stop_texts(options["stop"]))
    if options.get("logprobs"):
        body["logprobs"] = True
    if "repetition_guard" in options:
        body["repetition_guard"] = options["repetition_guard"]
    if "grammar" in options:
        body.update(_format(options["grammar"]))
    tools, choice = options.get("tools", ()), options.get("tool_choice")
    if tools:
        body["tools"] = [tool.to_wire() for tool in tools]
        if "parallel_tool_calls" in options:
            body["parallel_tool_calls"] = options["parallel_tool_calls"]
    if choice is not None and (tools or choice != "none"):
        body["tool_choice"] = _choice(choice, tools)
    return body


def reply_of(data: Any) -> Reply:
    """The reply in an answer. Raises RemoteError for what is none."""
    try:
        choice = data["choices"][0]
        message = choice["message"]
        calls = tuple(ToolCall.from_wire(call) for call in message.get("tool_calls") or ())
        logprobs, usage = _logprobs(choice), Usage.from_wire(data.get("usage"))
        text = whole_text(message.get("content"))
        loop = Repetition.from_wire(choice.get("repetition"))
        return Reply(text, calls, usage, _finish(choice), logprobs, str(data.get("model", "")), loop)
    except (*_MALFORMED, DataError) as error:
        raise _no_reply(error) from error


@dataclass
class StreamedReply:
    """A reply as its chunks come."""

    model: str = ""
    finish: FinishReason | None = None
    usage: Usage = field(default_factory=Usage)
    texts: list[str] = field(default_factory=list)
    calls: dict[int, dict[str, str]] = field(default_factory=dict)
    logprobs: list[float] | None = None
    repetition: Repetition | None = None

    def add(self, chunk: Any) -> str:
        """Take a chunk. Returns the text it adds. Raises RemoteError for what is none."""
        try:
            self.model = str(chunk.get("model") or self.model)
            if chunk.get("usage"):
                self.usage = Usage.from_wire(chunk["usage"])
            return "".join(map(self._choice, chunk.get("choices") or ()))
        except _MALFORMED as error:
            raise _no_reply(error) from error

    def reply(self) -> Reply:
        """The whole of it."""
        calls = tuple(ToolCall(**self.calls[place]) for place in sorted(self.calls))
        logprobs = None if self.logprobs is None else tuple(self.logprobs)
        finish = self.finish or "stop"
        return Reply("".join(self.texts), calls, self.usage, finish, logprobs, self.model, self.repetition)

    def _choice(self, choice: Mapping[str, Any]) -> str:
        delta = choice.get("delta") or {}
        text = whole_text(delta.get("content"))
        self.texts.append(text)
        for part in delta.get("tool_calls") or ():
            call = self.calls.setdefault(int(part.get("index", 0)), {"id": "", "name": "", "arguments": ""})
            function = part.get("function") or {}
            call["id"] = call["id"] or str(part.get("id") or "")
            call["name"] = call["name"] or str(function.get("name") or "")
            call["arguments"] += str(function.get("arguments") or "")
        if (found := _logprobs(choice)) is not None:
            self.logprobs = [*(self.logprobs or ()), *found]
        if choice.get("finish_reason"):
            self.finish = _finish(choice)
            self.repetition = Repetition.from_wire(choice.get("repetition"))
        return text


def _format(grammar: Grammar) -> dict[str, Any]:
    """A grammar as OpenAI takes JSON schemas, and as vLLM and our server take the other kinds."""
    if grammar.kind in ("regex", "lark"):
        return {"structured_outputs": {"regex" if grammar.kind == "regex" else "grammar": grammar.text}}
    try:
        value = json.loads(grammar.text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"this {grammar.kind} is no JSON", why=str(error), fix="correct it") from error
    if grammar.kind == "choice":
        return {"structured_outputs": {"choice": value}}
    schema = {"name": "reply", "schema": value, "strict": _is_strict(value)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _is_strict(schema: Any) -> bool:
    """Return True when OpenAI's strict mode takes a schema: every object is closed and requires all it declares."""
    if isinstance(schema, list):
        return all(map(_is_strict, schema))
    if not isinstance(schema, dict):
        return True
    if "properties" in schema or schema.get("type") == "object":
        declared, required = schema.get("properties"), schema.get("required", [])
        if not isinstance(declared, dict) or schema.get("additionalProperties") is not False:
            return False
        if set(declared) != set(required):
            return False
    return all(map(_is_strict, schema.values()))


def _choice(choice: str, tools: Sequence[Tool]) -> str | dict[str, Any]:
    if choice in ("auto", "none", "required"):
        return choice
    Toolbox.of(tools, choice)  # or it raises
    return {"type": "function", "function": {"name": choice}}


def whole_text(content: str | None) -> str:
    """A text that UTF-8 can hold: JSON can write half a character of UTF-16."""
    return (content or "").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _logprobs(choice: Mapping[str, Any]) -> tuple[float, ...] | None:
    table = choice.get("logprobs")
    entries = table.get("content") if table else None
    return None if entries is None else tuple(float(entry["logprob"]) for entry in entries)


def _finish(choice: Mapping[str, Any]) -> FinishReason:
    """Other reasons, such as a filter's, are an end like any."""
    said = choice.get("finish_reason")
    return "length" if said == "length" else "tool_calls" if said in ("tool_calls", "function_call") else "stop"


def _no_reply(error: Exception) -> RemoteError:
    why = f"{type(error).__name__}: {error}"
    return RemoteError("the server's answer holds no reply", why=why, fix="check that it is OpenAI-compatible")
