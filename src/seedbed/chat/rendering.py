"""Messages and tools to a prompt: to the chat template's messages, to token ids, and to the grammar of the reply.

Templates know three roles and no tools: functions are described in the system message, calls and their results are
text (``tool_calls.py``). Where a template has no place for a system, its text begins the first user's turn. The form of
a reply is one grammar, which every engine that masks tokens takes.

The objects in it hold what their schema declares. JSON Schema allows any further property where a schema does not speak
of them, and a small model would write them. OpenAI's strict mode therefore asks for ``additionalProperties: false``
everywhere; here it is what silence means, as many clients send schemas that leave it out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from seedbed.chat.messages import Message, Tool
from seedbed.chat.tool_calls import call_grammar, describe_functions, write_call, write_result
from seedbed.core.errors import DataError, UsageError
from seedbed.inference.parameters import Grammar

if TYPE_CHECKING:
    from seedbed.tokenizers.tokenizer import Tokenizer  # loads its library: not before it is needed

PlainMessages = list[dict[str, str]]
_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
_MAPS, _SINGLE = ("properties", "$defs", "definitions"), ("items", "additionalProperties")
_SPREAD = {"allOf", "oneOf", "not", "if", "dependentSchemas", "unevaluatedProperties", "$dynamicRef"}
_SPOKEN = {"additionalProperties", "patternProperties", "minProperties"}


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
        told = [tool.to_wire()["function"] for tool in self.tools]
        first = messages[0]["content"] + "\n\n" if messages[0]["role"] == "system" else ""
        system = {"role": "system", "content": first + describe_functions(told, self.several)}
        return [system, *(messages[1:] if messages[0]["role"] == "system" else messages)]


@dataclass(frozen=True)
class PromptEncoder:
    """Encodes conversations for one model, with the tools of one reply.

    Prompt and reply together may have ``context_window`` tokens.
    """

    tokenizer: Tokenizer
    context_window: int
    toolbox: Toolbox | None = None

    def encode(self, messages: Sequence[Message], *, add_generation_prompt: bool = True) -> list[int]:
        """Return the ids of a prompt; raises as :func:`plain_messages`, and UsageError where the template refuses."""
        plain = plain_messages(messages)
        told = self.toolbox.describe(plain) if self.toolbox else plain
        if told[0]["role"] == "system" and not self.tokenizer.takes_system:
            told = in_first_turn(told)
        return self.tokenizer.encode_chat(told, add_generation_prompt=add_generation_prompt)[0]

    def count_prompt(self, messages: Sequence[Message]) -> int:
        """Return the number of tokens of a prompt, template and all."""
        return len(self.encode(messages))


def in_first_turn(messages: PlainMessages) -> PlainMessages:
    """Return messages with the system's text before the first user's, for templates that know no system.

    Unchanged where a user does not speak next.
    """
    system, *rest = messages
    if not rest or rest[0]["role"] != "user":
        return messages
    return [{**rest[0], "content": f"{system['content']}\n\n{rest[0]['content']}"}, *rest[1:]]


def reply_grammar(grammar: Grammar | None, toolbox: Toolbox | None) -> Grammar | None:
    """Return the grammar of a reply, from the caller's grammar and the tools it may call.

    Raises UsageError where both are given, and the grammar is no JSON schema.
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
    schemas = {one.name: strict_schema(dict(one.parameters)) for one in toolbox.tools}
    return Grammar("lark", call_grammar(schemas, otherwise, toolbox.several))


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


def strict_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that allows only declared properties; whatever follows it follows ``schema`` too.

    A schema that spreads an object's properties over several places is left as it is: none of them knows the others.
    """
    return schema if _is_spread(schema) else _close(schema)


def _is_spread(part: Any) -> bool:
    if isinstance(part, list):
        return any(map(_is_spread, part))
    if not isinstance(part, dict):
        return False
    shared = "properties" in part and not part.keys().isdisjoint({"$ref", "anyOf"})
    return shared or not part.keys().isdisjoint(_SPREAD) or any(map(_is_spread, part.values()))


def _close(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for key in found.keys() & _MAPS:
        if isinstance(found[key], dict):
            found[key] = {name: _close(one) for name, one in found[key].items()}
    for key in found.keys() & _SINGLE:
        found[key] = _close(found[key])
    if isinstance(found.get("anyOf"), list):
        found["anyOf"] = [_close(one) for one in found["anyOf"]]
    if found.keys().isdisjoint(_SPOKEN) and _declares_all(found.get("properties"), found.get("required", [])):
        found["additionalProperties"] = False
    return found


def _declares_all(properties: Any, required: Any) -> bool:
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return all(isinstance(name, str) and name in properties for name in required)
