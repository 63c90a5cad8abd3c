"""Tool calls in a reply: the grammar that a model writes them by, and the reader that finds them.

Calls stand at the end of a reply, one after another, in the form of ``tokenizers.tool_text``. A Lark grammar,
for engines that mask tokens, keeps a model to it and the arguments to their schema.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from seedbed.chat.messages import ToolCallDelta
from seedbed.tokenizers.tool_text import CLOSE, OPEN

_HEAD = re.compile(re.escape(OPEN) + r'\{"name": "([^"]*)", "arguments": ')
_STYLE = {"item_separator": ", ", "key_separator": ": ", "whitespace_flexible": False, "coerce_one_of": True}


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
    more = f' ("{OPEN}" call "{CLOSE}")*' if several else ""
    if otherwise == "text":
        starts = f'before call "{CLOSE}"{more} | TEXT'
        rules += [f'before[suffix="{OPEN}"]: /(?s:.*)/', f"TEXT: /(?s:.*)/ & ~/(?s:.*{OPEN}.*)/"]
    else:
        starts = f'"{OPEN}" call "{CLOSE}"{more}' + (" | body" if otherwise else "")
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
            text_ends = last and OPEN not in self._held  # a call that was cut off is no text
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
    if (place := text.find(OPEN)) >= 0:
        return place
    first = max(0, len(text) - len(OPEN) + 1)
    return next(place for place in range(first, len(text) + 1) if OPEN.startswith(text[place:]))


def _json(schema: Mapping[str, Any]) -> str:
    return "%json " + json.dumps({**schema, "x-guidance": {**schema.get("x-guidance", {}), **_STYLE}})
