"""From messages and tools to what a chat template knows, and from a reply's text back to a call.

Templates know three roles and no tools: functions are described in the system message, calls and their results are
text (``tokenizers/tools.py``). What a reply may look like is one grammar, which every engine that masks tokens takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.chat.messages import Message, Tool
from seedbed.chat.strict_schemas import strict_schema
from seedbed.core.errors import DataError, UsageError
from seedbed.inference.parameters import Grammar
from seedbed.tokenizers.tools import call_grammar, describe_functions, write_call, write_result

PlainMessages = list[dict[str, str]]
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


def plain_messages(messages: Sequence[Message]) -> PlainMessages:
    """Messages as chat templates know them.

    Raises:
        UsageError: there are none.
        DataError: a message has a call where it may have none, or answers a call that nobody made.
    """
    if not messages:
        raise UsageError("there are no messages", why="a model answers at least one", fix="give a message of the user")
    calls: dict[str, str] = {}
    plain = []
    for place, message in enumerate(messages, 1):
        content, role = message.content, "user" if message.role == "tool" else message.role
        if (message.tool_calls and role != "assistant") or (message.tool_call_id and message.role != "tool"):
            raise _refuse(place, f"its role is {message.role}, and it has a call", "leave the call out")
        for call in message.tool_calls:
            calls[call.id] = call.name
            content += write_call(call.name, _arguments(call.arguments, place))
        if message.role == "tool":
            if message.tool_call_id not in calls:
                raise _refuse(place, f"it answers {message.tool_call_id}, a call nobody made", "give the call too")
            content = write_result(calls[message.tool_call_id], content)
        plain.append({"role": role, "content": content})
    return plain


@dataclass(frozen=True)
class Toolbox:
    """The tools a reply may or must call."""

    tools: tuple[Tool, ...]
    required: bool

    @classmethod
    def of(cls, tools: Sequence[Tool], choice: str | None) -> Toolbox | None:
        """What is offered, and chosen: "auto", "none", "required" or a tool's name. None: there is nothing to call.

        Raises:
            UsageError: a name cannot be one, is there twice, or is chosen and not there.
        """
        names = [tool.name for tool in tools]
        if wrong := [name for place, name in enumerate(names) if not _NAME.fullmatch(name) or name in names[:place]]:
            why = "a tool has a name of its own: up to 64 letters, digits, dots, dashes or underscores"
            raise UsageError(f"a tool cannot be called {wrong[0][:80]!r}", why=why, fix="rename it")
        if choice in (None, "auto", "none"):
            return cls(tuple(tools), False) if tools and choice != "none" else None
        chosen = tuple(tool for tool in tools if choice in ("required", tool.name))
        if not chosen:
            why = f"the tools are {', '.join(names) or 'none'}"
            raise UsageError(f"tool_choice = {choice!r} chooses no tool", why=why, fix="add it to the tools")
        return cls(chosen, True)

    def describe(self, messages: PlainMessages) -> PlainMessages:
        """The messages, with the system's saying what may be called."""
        told = [
            {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
            for tool in self.tools
        ]
        first = messages[0]["content"] + "\n\n" if messages[0]["role"] == "system" else ""
        system = {"role": "system", "content": first + describe_functions(told)}
        return [system, *(messages[1:] if messages[0]["role"] == "system" else messages)]


def reply_grammar(grammar: Grammar | None, toolbox: Toolbox | None) -> Grammar | None:
    """What a reply must look like, from the caller's grammar and the tools it may call.

    Raises:
        UsageError: both are given, and the grammar is no JSON schema.
    """
    schema = None
    if grammar is not None and grammar.kind == "json_schema":
        schema = strict_schema(_schema(grammar))
        grammar = Grammar("json_schema", json.dumps(schema))
    if toolbox is None:
        return grammar
    if grammar is not None and schema is None:
        what = f"a {grammar.kind} and tools at once"
        raise UsageError(what, why="a reply can follow one grammar", fix="leave out one, or use a JSON schema")
    otherwise = None if toolbox.required else "text" if schema is None else schema
    return Grammar(
        "lark", call_grammar({one.name: strict_schema(dict(one.parameters)) for one in toolbox.tools}, otherwise)
    )


def _schema(grammar: Grammar) -> dict[str, object]:
    try:
        schema = json.loads(grammar.text)
    except (ValueError, RecursionError) as error:
        raise UsageError("the json_schema is no JSON", why=str(error), fix="correct it") from error
    if not isinstance(schema, dict):
        raise UsageError("the json_schema is no object", why=f"it is {grammar.text[:80]}", fix="give an object")
    return schema


def _arguments(text: str, place: int) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise _refuse(place, f"the arguments of its call are no JSON: {error}", "give a JSON object") from error


def _refuse(place: int, why: str, fix: str) -> DataError:
    return DataError(f"message {place} cannot be read", why=why, fix=fix)
