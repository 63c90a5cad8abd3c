"""Messages and tools to a prompt: to the chat template's messages, to token ids, and to the grammar of the reply.

Templates know three roles and no tools: functions are described in the system message, calls and their results are
text (``tokenizers.tool_text``). The form of a reply is one grammar, which every engine that masks tokens takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from seedbed.chat.messages import Message, Tool
from seedbed.chat.schemas import enforceable, strict_schema
from seedbed.chat.tool_calls import call_grammar
from seedbed.core.errors import DataError, UsageError
from seedbed.inference.parameters import Grammar
from seedbed.tokenizers.tool_text import tell_functions, write_call, write_result

if TYPE_CHECKING:
    from seedbed.tokenizers.tokenizer import Tokenizer  # loads its library: not before it is needed

PlainMessages = list[dict[str, str]]
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


def plain_messages(messages: Sequence[Message]) -> PlainMessages:
    """Return messages as chat templates know them. Raises UsageError where there are none.

    Raises DataError where a message has a call that it may not have, or answers a call that nobody made.
    """
    if not messages:
        raise UsageError("there are no messages", why="a model answers at least one", fix="give a message of the user")
    calls: dict[str, str] = {}
    plain = []
    for place, message in enumerate(messages, 1):
        content, role = message.text, "user" if message.role == "tool" else message.role
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
    """The tools that a reply may or must call, ``several`` times or once."""

    tools: tuple[Tool, ...]
    required: bool
    several: bool = False

    @classmethod
    def of(cls, tools: Sequence[Tool], choice: str | None, several: bool = False) -> Toolbox | None:
        """Choose among tools by "auto", "none", "required" or a tool's name. None: there is nothing to call.

        Raises UsageError for a name that cannot be one, is there twice, or is chosen and not there.
        """
        names = [tool.name for tool in tools]
        if wrong := [name for place, name in enumerate(names) if not _NAME.fullmatch(name) or name in names[:place]]:
            why = "a tool has a name of its own: up to 64 letters, digits, dots, dashes or underscores"
            raise UsageError(f"a tool cannot be called {wrong[0][:80]!r}", why=why, fix="rename it")
        if choice in (None, "auto", "none"):
            return cls(tuple(tools), False, several) if tools and choice != "none" else None
        chosen = tuple(tool for tool in tools if choice in ("required", tool.name))
        if not chosen:
            why = f"the tools are {', '.join(names) or 'none'}"
            raise UsageError(f"tool_choice = {choice!r} chooses no tool", why=why, fix="add it to the tools")
        return cls(chosen, True, several)

    def describe(self, messages: PlainMessages) -> PlainMessages:
        """Return the messages, with the description of the tools in the system's."""
        told = [replace(tool, strict=False).to_wire()["function"] for tool in self.tools]
        return tell_functions(messages, told, self.several)


@dataclass(frozen=True)
class PromptEncoder:
    """Encodes conversations for one model, with the tools of one reply.

    Prompt and reply together may have ``context_window`` tokens; ``variables`` are of the model's chat template.
    """

    tokenizer: Tokenizer
    context_window: int
    toolbox: Toolbox | None = None
    variables: Mapping[str, object] = field(default_factory=dict)

    def encode(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[int]:
        """Return the ids of a prompt; raises as :func:`plain_messages`, and UsageError where the template refuses."""
        plain = plain_messages(messages)
        told = self.toolbox.describe(plain) if self.toolbox else plain
        return self.tokenizer.encode_chat(told, add_generation_prompt, self.variables)[0]

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt, template and all."""
        return len(self.encode(messages))


def reply_grammar(grammar: Grammar | None, toolbox: Toolbox | None, strict: bool = True) -> Grammar | None:
    """Return the grammar of a reply, from the caller's grammar and the tools it may call.

    ``strict``: rather refuse the caller's JSON schema than leave a keyword out that no grammar can keep. Raises
    UsageError for a schema, of a tool or the caller's, that is none or is refused so, and where tools are given beside
    a grammar that is no JSON schema.
    """
    schema = None
    if grammar is not None and grammar.kind == "json_schema":
        schema = _kept("the json_schema", _schema(grammar), strict)[0]
        grammar = Grammar("json_schema", json.dumps(schema))
    if toolbox is None:
        return grammar
    if grammar is not None and schema is None:
        what = f"a {grammar.kind} and tools at once"
        raise UsageError(what, why="a reply can follow one grammar", fix="leave out one, or use a JSON schema")
    otherwise = None if toolbox.required else "text" if schema is None else schema
    schemas = {tool.name: _of_tool(tool)[0] for tool in toolbox.tools}
    return Grammar("lark", call_grammar(schemas, otherwise, toolbox.several))


def unenforced(toolbox: Toolbox | None, grammar: Grammar | None = None) -> list[str]:
    """Return a line for each schema that a reply need not follow in all: its name and the keywords that are not kept.

    ``grammar``: the caller's, if it is a JSON schema that is not strict.
    """
    found = {f"tool {tool.name}": _of_tool(tool)[1] for tool in (toolbox.tools if toolbox else ())}
    if grammar is not None:
        found["the json_schema"] = _kept("the json_schema", _schema(grammar), False)[1]
    return [f"{name}: {', '.join(keywords)}" for name, keywords in found.items() if keywords]


def _of_tool(tool: Tool) -> tuple[dict[str, Any], list[str]]:
    return _kept(f"the schema of tool {tool.name}", dict(tool.parameters), tool.strict)


def _kept(name: str, schema: dict[str, Any], strict: bool) -> tuple[dict[str, Any], list[str]]:
    """Return a schema as a grammar can keep it, and the keywords that are left out. Raises UsageError."""
    try:
        found, left = enforceable(strict_schema(schema))
    except UsageError as error:
        raise UsageError(f"{name} cannot be used", why=error.why, fix="correct it, or leave it out") from error
    if left and strict:
        why = f"no grammar can keep {', '.join(left)}, and it is strict"
        raise UsageError(f"{name} cannot be used", why=why, fix="leave the keyword out, or set strict to false")
    return found, left


def _schema(grammar: Grammar) -> dict[str, Any]:
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
