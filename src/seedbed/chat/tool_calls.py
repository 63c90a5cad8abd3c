"""Tool calls as text: the description of functions, the calls that a model writes, and their results.

Calls stand at the end of a reply, ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` (the form of Hermes and Qwen
models), one after another. A Lark grammar, for engines that mask tokens, keeps a model to it and the arguments to their
schema. Left out: templates with a form of their own.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.chat.messages import ToolCallDelta

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_ONE, _SEVERAL = "a function. To call one", "functions. To call one or several"
_PROMPT = """\
You may call {called}, end your reply with
<tool_call>{{"name": "…", "arguments": {{…}}}}</tool_call>
These are the functions:
"""
_RESULT = '<tool_response name="{name}">\n{content}\n</tool_response>'
_HEAD = re.compile(re.escape(_OPEN) + r'\{"name": "([^"]*)", "arguments": ')
_STYLE = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False, "coerce_one_of": True}


def describe_functions(functions: Sequence[Mapping[str, Any]], several: bool = False) -> str:
    """Describe functions for the system message, each a table with name, description and parameters."""
    told = _PROMPT.format(called=_SEVERAL if several else _ONE)
    return told + "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)


def write_call(name: str, arguments: str) -> str:
    """Write a call as the model does; ``arguments`` is a JSON object as text."""
    return f'{_OPEN}{{"name": {json.dumps(name)}, "arguments": {arguments}}}{_CLOSE}'


def write_result(name: str, content: str) -> str:
    """Write the result of a call for a message of the user."""
    return _RESULT.format(name=name, content=content)


def call_grammar(
    functions: Mapping[str, Mapping[str, Any]], otherwise: Mapping[str, Any] | str | None, several: bool = False
) -> str:
    """Build the Lark grammar of replies that end with one call or ``several`` of functions, by name with their schemas.

    ``otherwise`` is the form of a reply without a call: "text" for any, a JSON schema, or None: there must be a call.
    """
    calls = " | ".join(
        f'{json.dumps(f"""{{"name": {json.dumps(name)}, "arguments": """)} arguments_{place} "}}"'
        for place, name in enumerate(functions)
    )
    rules = [f"call: {calls}", *(f"arguments_{place}: {_json(one)}" for place, one in enumerate(functions.values()))]
    more = f' ("{_OPEN}" call "{_CLOSE}")*' if several else ""
    if otherwise == "text":
        starts = f'before call "{_CLOSE}"{more} | TEXT'
        rules += [f'before[suffix="{_OPEN}"]: /(?s:.*)/', f"TEXT: /(?s:.*)/ & ~/(?s:.*{_OPEN}.*)/"]
    else:
        starts = f'"{_OPEN}" call "{_CLOSE}"{more}' + (" | body" if otherwise else "")
        rules += [f"body: {_json(otherwise)}"] if isinstance(otherwise, Mapping) else []
    return "\n".join([f"start: {starts}", *rules]) + "\n"


class ToolCallReader:
    """Tells calls from the text before them while a reply is written."""

    def __init__(self) -> None:
        self._held = ""
        self._id = ""
        self._begun = self._depth = 0
        self._inside = self._quoted = self._escaped = False

    def push(self, text: str, last: bool) -> tuple[str, list[ToolCallDelta]]:
        """Add text. Returns the text that became certain, and what became certain of calls."""
        self._held += text
        shown, found = "", list[ToolCallDelta]()
        while self._inside or _HEAD.search(self._held):
            name = ""
            if not self._inside:
                before, name = self._begin()
                shown += before
            if (arguments := self._arguments()) or name:
                found.append(ToolCallDelta(self._begun - 1, self._id, name, arguments))
            if self._inside:
                return shown, found
        if not self._begun:
            text_ends = last and _OPEN not in self._held  # a call that was cut off is no text
            size = len(self._held) if text_ends else _certain(self._held)
            shown, self._held = self._held[:size], self._held[size:]
        return shown, found

    def _begin(self) -> tuple[str, str]:
        """Go into the next call. Returns the text before the first one, and the name of the function."""
        head = _HEAD.search(self._held)
        assert head is not None  # asked of nobody else
        before = "" if self._begun else self._held[: head.start()]
        self._held, self._inside = self._held[head.end() :], True
        self._begun, self._id = self._begun + 1, f"call_{secrets.token_hex(12)}"
        return before, head[1]

    def _arguments(self) -> str:
        """Take what there is of the arguments: JSON up to the brace that closes the call around it."""
        for place, char in enumerate(self._held):
            if self._quoted:
                self._quoted = char != '"' or self._escaped
                self._escaped = char == "\\" and not self._escaped
            elif char == '"':
                self._quoted = True
            elif char in "{[":
                self._depth += 1
            elif char in "}]" and self._depth:
                self._depth -= 1
            elif char == "}":
                taken, self._held, self._inside = self._held[:place], self._held[place + 1 :], False
                return taken
        taken, self._held = self._held, ""
        return taken


def _certain(text: str) -> int:
    """Return the number of characters that cannot belong to the mark that opens a call."""
    if (place := text.find(_OPEN)) >= 0:
        return place
    first = max(0, len(text) - len(_OPEN) + 1)
    return next(place for place in range(first, len(text) + 1) if _OPEN.startswith(text[place:]))


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": {**schema.get("x-guidance", {}), **_STYLE}})
