"""The turns of a published conversation, one by one, as plain messages: roles, contents, calls of tools, weights."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from seedbed.corpus.tally import UnreadRow
from seedbed.tokenizers.tool_text import RESULT, write_call, write_result

Message = dict[str, Any]
_ROLES = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "bot", "model"), "assistant"),
    **dict.fromkeys(("function_call", "tool_call"), "call"),
    **dict.fromkeys(("tool", "function", "observation", "ipython", "tool_response", "function_response"), "tool"),
}
_ROLE, _CONTENT = ("role", "from", "speaker"), ("content", "value", "text")
_LEARN = ("weight", "train", "training", "loss")
"""Fields of a message that say whether it is learned, as OpenAI, axolotl and ms-swift name them."""
_READ = {*_ROLE, *_CONTENT, *_LEARN, "refusal", "tool_calls", "function_call", "tool_call_id", "name"}
_TEXT_PARTS = ("text", "input_text", "output_text", "refusal")


class Turns:
    """Messages under construction, with the calls that wait for their results.

    Attributes:
        several_calls: a reply has more than one call.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.remarks: list[str] = []
        self.several_calls = False
        self._calls: dict[str, str] = {}  # names by id
        self._waiting: list[str] = []  # names in the order of the calls

    def add_all(self, entries: Iterable[object]) -> None:
        """Add messages in their order; raises UnreadRow for one that cannot be read."""
        for entry in entries:
            self.add(entry)

    def add(self, entry: Any) -> None:
        """Add a message; an empty one of the system is passed over."""
        role = role_of(entry)
        content = _text(next((entry[key] for key in _CONTENT if entry.get(key) is not None), None), role)
        unread = sorted(key for key in entry.keys() - _READ if entry[key] not in (None, "", [], {}))
        self.remarks += [f"the field {key!r} of messages is not read" for key in unread]
        if role == "tool":
            self.messages.append({"role": "user", "content": self._result(entry, content)})
            return
        if role == "call":
            role, content = "assistant", self._call(_json(content))
        elif role == "assistant":
            content = (content or _text(entry.get("refusal"), role)) + self._calls_of(entry)
        if not content.strip():
            if role == "system":
                return
            raise UnreadRow("a reply is empty" if role == "assistant" else "a turn of the user is empty")
        self.messages.append({"role": role, "content": content, **self._weight(entry, role)})

    def _weight(self, entry: Mapping[str, Any], role: str) -> dict[str, int]:
        """Return ``{"weight": 0}`` for a reply that is marked as not to be learned."""
        found = next((entry[key] for key in _LEARN if entry.get(key) is not None), None)
        if role == "assistant":
            if isinstance(found, (int, float)) and found not in (0, 1):
                self.remarks.append("weights between 0 and 1, or above, count as 1")
            return {"weight": 0} if found in (0, "0", "false", "False") else {}
        if found in (1, "1", "true", "True"):
            self.remarks.append(f"a turn of the {role} that is marked to be learned is not: only replies are")
        return {}

    def _calls_of(self, entry: Mapping[str, Any]) -> str:
        calls = listed(entry.get("tool_calls")) or []
        if entry.get("function_call"):
            calls = [*calls, entry["function_call"]]
        self.several_calls |= len(calls) > 1
        return "".join(map(self._call, calls))

    def _call(self, call: object) -> str:
        """Return a call as text, and wait for its result."""
        if isinstance(call, list):
            self.several_calls |= len(call) > 1
            return "".join(map(self._call, call))
        told = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(told, dict) or not isinstance(told.get("name"), str):
            raise UnreadRow("a call is no function with a name")
        arguments = told.get("arguments", told.get("parameters"))
        arguments = _json(arguments or "{}") if isinstance(arguments, str) else arguments or {}
        if not isinstance(arguments, dict):
            raise UnreadRow("the arguments of a call are no JSON object")
        name = told["name"]
        self._waiting.append(name)
        if call.get("id"):
            self._calls[str(call["id"])] = name
        return write_call(name, json.dumps(arguments, ensure_ascii=False))

    def _result(self, entry: Mapping[str, Any], content: str) -> str:
        """Return a result as text, under the name of the call that it answers."""
        if content.lstrip().startswith(RESULT):  # it is in that form already
            return content
        name = self._calls.get(str(entry.get("tool_call_id"))) or entry.get("name")
        if name in self._waiting:
            self._waiting.remove(name)
        elif not name and self._waiting:
            name = self._waiting.pop(0)
        if not name:
            raise UnreadRow("a result answers a call that nobody made")
        return write_result(str(name), content)


def role_of(entry: object) -> str:
    """Return a message's role: system, user, assistant, tool, or "call" for a call of its own."""
    if not isinstance(entry, dict):
        raise UnreadRow(f"a message is a {type(entry).__name__}, no object with a role")
    stated = next((entry[key] for key in _ROLE if key in entry), None)
    if stated is None:
        raise UnreadRow("a message has no role")
    if (role := _ROLES.get(str(stated).lower())) is None:
        raise UnreadRow(f"the role {stated!r} is not known")
    return role


def listed(value: object) -> list[Any] | None:
    """Return a list, also one that a table keeps as JSON text; None for what is none."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text(value: object, role: str) -> str:
    """Return the text of a content: a text, or a list of parts that are text."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if role in ("tool", "call") and not _are_parts(value):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return "".join(map(_part, value))
    raise UnreadRow(f"a content is a {type(value).__name__}, no text")


def _are_parts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict) and "type" in part for part in value)


def _part(part: object) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        raise UnreadRow(f"a content has a part that is a {type(part).__name__}, no text")
    kind = part.get("type", "text")
    text = part.get("refusal" if kind == "refusal" else "text")
    if kind not in _TEXT_PARTS or not isinstance(text, str):
        raise UnreadRow(f"a content has a part of type {kind!r}: only text is read")
    return text
