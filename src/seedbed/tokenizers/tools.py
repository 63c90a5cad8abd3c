"""Function calls in a chat, as text: how a model is told what it may call, writes a call, and is told the result.

A call stands at the end of a reply, ``<tool_call>{"name": …, "arguments": {…}}</tool_call>`` (the form of Hermes and
Qwen models). A Lark grammar, for engines that mask tokens, keeps a model to it and the arguments to their schema. Left
out: templates with a form of their own, and several calls in one reply.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_PROMPT = """\
You may call a function. To call one, end your reply with
<tool_call>{"name": "…", "arguments": {…}}</tool_call>
These are the functions:
"""
_RESULT = '<tool_response name="{name}">\n{content}\n</tool_response>'
_HEAD = re.compile(re.escape(_OPEN) + r'\{"name": "([^"]*)", "arguments": ')
_TAIL = "}" + _CLOSE
_STYLE = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False}


def describe_functions(functions: Sequence[Mapping[str, Any]]) -> str:
    """What the system message says about functions, each a table with name, description and parameters."""
    return _PROMPT + "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)


def write_call(name: str, arguments: str) -> str:
    """A call as the model writes it; ``arguments`` is a JSON object as text."""
    return f'{_OPEN}{{"name": {json.dumps(name)}, "arguments": {arguments}{_TAIL}'


def write_result(name: str, content: str) -> str:
    """What a user message says about the result of a call."""
    return _RESULT.format(name=name, content=content)


def call_grammar(functions: Mapping[str, Mapping[str, Any]], otherwise: Mapping[str, Any] | str | None) -> str:
    """A Lark grammar of replies that end with a call of one of these functions, by name with their schemas.

    Args:
        otherwise: what a reply without a call may be: "text" for any text, a JSON schema, or None where there must be
            a call.
    """
    calls = " | ".join(
        f'{_literal(f"""{{"name": {json.dumps(name)}, "arguments": """)} arguments_{place} "}}"'
        for place, name in enumerate(functions)
    )
    rules = [f"call: {calls}", *(f"arguments_{place}: {_json(one)}" for place, one in enumerate(functions.values()))]
    if otherwise == "text":
        starts = f"before call {_literal(_CLOSE)} | TEXT"
        rules += [f"before[suffix={_literal(_OPEN)}]: /(?s:.*)/", f"TEXT: /(?s:.*)/ & ~/(?s:.*{_OPEN}.*)/"]
    else:
        starts = f"{_literal(_OPEN)} call {_literal(_CLOSE)}" + (" | body" if otherwise else "")
        rules += [f"body: {_json(otherwise)}"] if isinstance(otherwise, Mapping) else []
    return "\n".join([f"start: {starts}", *rules]) + "\n"


@dataclass
class CallReader:
    """Tells a call from the text before it while a reply is written."""

    name: str = ""
    _held: str = ""

    def push(self, text: str, last: bool) -> tuple[str, str, str]:
        """Add text. Returns what became certain: text, the name of a call that begins, a piece of its arguments."""
        self._held += text
        shown = begun = ""
        if not self.name:
            head = _HEAD.search(self._held)
            text_ends = last and _OPEN not in self._held  # a call that was cut off is no text
            shown = self._held[: head.start() if head else len(self._held) if text_ends else _certain(self._held)]
            self._held = self._held[head.end() if head else len(shown) :]
            if not head:
                return shown, "", ""
            self.name = begun = head[1]
        keep = 0 if last else len(_TAIL)
        ready = self._held.removesuffix(_TAIL) if last else self._held[: max(0, len(self._held) - keep)]
        self._held = self._held[len(ready) :]
        return shown, begun, ready


def _certain(text: str) -> int:
    """How much of a text cannot belong to the mark that opens a call."""
    if (place := text.find(_OPEN)) >= 0:
        return place
    return next(
        len(text) - size
        for size in range(min(len(text), len(_OPEN) - 1), -1, -1)
        if _OPEN.startswith(text[len(text) - size :])
    )


def _literal(text: str) -> str:
    return json.dumps(text)


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": _STYLE})
