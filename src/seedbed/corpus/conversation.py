"""A row of a data set as a conversation: the forms that OpenAI, ShareGPT, Alpaca, TRL and others publish.

Every message becomes ``{"role": system, user or assistant, "content": text}``, its text as it stands in the row, for
spaces at its edges can mean something (indented code). Calls of tools and their results become text, as they do in a
prompt (``tokenizers.tool_text``). ``"weight": 0`` marks a reply that is not to be learned. A row that cannot be read
raises :class:`~seedbed.corpus.tally.UnreadRow` with the reason, and what is left out of one that can be is a remark.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedbed.corpus.columns import Columns
from seedbed.corpus.tally import UnreadRow
from seedbed.corpus.turns import Message, Turns, listed, role_of
from seedbed.tokenizers.tool_text import tell_functions

PREFERENCES = "preference data: the preferred reply is learned, the rejected one is not used"
_CUT = "turns after the last reply are left out"
_SEVERAL = "several replies: the first is taken"
_CONTEXT_MARK = "\n\n"


@dataclass(frozen=True)
class ReadRow:
    """The messages of a row, of which an assistant has the last, and remarks on what was left out."""

    messages: list[Message]
    remarks: list[str] = field(default_factory=list)


def read_conversation(row: Mapping[str, Any], columns: Columns) -> ReadRow:
    """Return a row as a conversation; raises UnreadRow where it is none."""
    turns = Turns()
    if _cell(row, columns.label) is False:
        raise UnreadRow("its label is false: an unwanted reply")
    if _cell(row, columns.rejected):
        turns.remarks.append(PREFERENCES)
    if columns.messages:
        turns.add_all(_messages(row.get(columns.messages), f"column {columns.messages}"))
    else:
        _add_pair(turns, row, columns)
    messages = _finished(turns)
    system = _cell(row, columns.system)
    if isinstance(system, str) and system.strip() and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": system})
    if tools := _tools(_cell(row, columns.tools)):
        several = turns.several_calls or row.get("parallel_tool_calls") is True
        messages = tell_functions(messages, tools, several)
    return ReadRow(messages, turns.remarks)


def _cell(row: Mapping[str, Any], column: str) -> Any:
    """Return a column's value; None where there is no such column (one without a name is an index)."""
    return row.get(column) if column else None


def _add_pair(turns: Turns, row: Mapping[str, Any], columns: Columns) -> None:
    """Add the turns of a row that has its prompt and its reply in columns of their own."""
    prompt, reply = row.get(columns.prompt), _reply(row.get(columns.reply), turns.remarks)
    whole = isinstance(reply, list) and role_of(reply[0]) in ("system", "user")
    if not whole:  # else the reply repeats the prompt, as some preference data do
        for earlier in listed(_cell(row, columns.history)) or ():
            _add_earlier(turns, earlier)
        if isinstance(prompt, str):
            context = _cell(row, columns.context)
            has_context = isinstance(context, str) and context.strip()
            text = f"{prompt}{_CONTEXT_MARK}{context}" if has_context and prompt.strip() else prompt
            turns.add({"role": "user", "content": text})
        else:
            shown = _messages(prompt, "the prompt")
            turns.add_all([{**one, "weight": 0} if role_of(one) == "assistant" else one for one in shown])
    turns.add_all(reply if isinstance(reply, list) else [{"role": "assistant", "content": reply}])


def _add_earlier(turns: Turns, earlier: object) -> None:
    if not isinstance(earlier, list) or len(earlier) != 2:
        raise UnreadRow("its history is no list of prompts with their replies")
    turns.add({"role": "user", "content": earlier[0]})
    turns.add({"role": "assistant", "content": earlier[1]})


def _reply(value: object, remarks: list[str]) -> Any:
    """Return a reply as its text or as messages; of several the first."""
    if isinstance(value, dict) and isinstance(value.get("text"), list):  # SQuAD's answers
        value = value["text"]
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        return value
    if not value:
        raise UnreadRow("a reply is empty")
    if isinstance(value[0], dict):
        return value
    if len(value) > 1:
        remarks.append(_SEVERAL)
    return value[0]


def _messages(value: object, name: str) -> Sequence[Any]:
    """Return a list of messages; some data sets keep them as JSON text, or under ``messages`` of an object."""
    found = listed(value.get("messages") if isinstance(value, dict) else value)
    if found is not None:
        return found
    if value in (None, ""):
        raise UnreadRow(f"{name} is empty")
    kind = "text" if isinstance(value, str) else f"a {type(value).__name__}"
    raise UnreadRow(f"{name} is {kind}, no list of messages with roles")


def _finished(turns: Turns) -> list[Message]:
    """Return the messages up to the last reply."""
    messages = list(turns.messages)
    while messages and messages[-1]["role"] != "assistant":
        messages.pop()
    if not messages:
        raise UnreadRow("there is no reply in it")
    if not any(message["role"] == "user" for message in messages):
        raise UnreadRow("nobody asks in it: there is no turn of a user before a reply")
    if len(messages) < len(turns.messages):
        turns.remarks.append(_CUT)
    if all(message.get("weight") == 0 for message in messages if message["role"] == "assistant"):
        raise UnreadRow("all its replies are marked as not to be learned")
    return messages


def _tools(value: object) -> list[dict[str, Any]]:
    """Return descriptions of functions, as a prompt tells them."""
    if value is None or value == "":
        return []
    found = listed(value)
    if found is None:
        raise UnreadRow("its tools are no list of functions")
    return [_function(entry) for entry in found]


def _function(entry: object) -> dict[str, Any]:
    told = entry.get("function", entry) if isinstance(entry, dict) else None
    if isinstance(told, str):
        told = _object(told)
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        raise UnreadRow("one of its tools is no function with a name")
    parameters = told.get("parameters") or {"type": "object", "properties": {}}
    return {"name": told["name"], "description": told.get("description") or "", "parameters": parameters}


def _object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
