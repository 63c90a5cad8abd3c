"""Chat templates: Jinja in Hugging Face's convention, run in a sandbox.

A template sees ``messages``, ``add_generation_prompt``, ``bos_token``, ``eos_token`` and ``pad_token``, may call
``raise_exception(text)`` and ``strftime_now(format)``, filter with ``tojson``, and use ``{% generation %}`` blocks and
loop controls. It can neither reach Python's internals nor change its arguments: templates come with models from
elsewhere. ``tools`` and ``documents`` are always none: they belong to the chat floor.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from seedbed.core.errors import UsageError
from seedbed.tokenizers.special import ASSISTANT, SYSTEM, USER

_SEEKING = ("split", "rsplit", "partition", "rpartition", "startswith", "endswith", "find", "index", "count")

DEFAULT_TEMPLATE = (  # every turn is a role token, the content as it is, and the end token: small models waste none
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ '" + SYSTEM + "' }}"
    "{% elif message['role'] == 'user' %}{{ '" + USER + "' }}"
    "{% elif message['role'] == 'assistant' %}{{ '" + ASSISTANT + "' }}"
    "{% else %}{{ raise_exception('a role is system, user or assistant, not ' + message['role']) }}{% endif %}"
    "{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)


class _Generation(Extension):
    """``{% generation %}`` marks an assistant's words; here it only prints: the mask comes from the messages."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def check_variables(source: str, given: Mapping[str, object], own: Collection[str]) -> None:
    """Raise UsageError for a variable that says something (not false, 0 or "") and that a template does not read.

    ``own``: the names of special tokens, which are not the caller's to set.
    """
    if not given:
        return
    own = {*own, "messages", "add_generation_prompt", "tools", "documents"}
    read = meta.find_undeclared_variables(_environment().parse(source)) - {*own, *_environment().globals}
    if wrong := next((name for name, value in given.items() if name in own or (value and name not in read)), None):
        why = "it is set by the conversation" if wrong in own else "it would change nothing"
        fix = f"it reads {', '.join(sorted(read))}" if read else "leave it out: it reads no further variables"
        raise UsageError(f"the chat template has no variable {wrong!r} to set", why=why, fix=fix)


def render(template: str, messages: Sequence[Mapping[str, Any]], **variables: object) -> str:
    """Render a chat template.

    Raises UsageError where it is not valid, refuses these messages, or reaches for what the sandbox forbids.
    """
    given = {"tools": None, "documents": None} | variables
    try:
        return _compile(template).render(messages=[dict(message) for message in messages], **given)
    except (jinja2.TemplateError, TypeError, ArithmeticError, LookupError, ValueError, OverflowError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}" if line else ""
        raise UsageError(
            "the chat template cannot be rendered",
            why=f"{type(error).__name__}{place}: {error}",
            fix="correct the messages (role and content, in an order the template allows) or the template",
        ) from error


def in_first_turn(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return messages with the system's text before the first user's, for templates that know no system.

    Unchanged where a user does not speak next.
    """
    if [message.get("role") for message in messages[:2]] != ["system", "user"]:
        return messages
    system, first, *rest = messages
    return [{**first, "content": f"{system['content']}\n\n{first['content']}"}, *rest]


@functools.lru_cache(maxsize=16)
def read_texts(template: str) -> frozenset[str]:
    """Return the texts that a template looks for in contents: what it tests with ``in`` or splits at.

    Such a text, ``</think>`` for instance, is a part of what is said, and no mark of turns. Empty for a template that
    is not valid.
    """
    try:
        tree = _environment().parse(template)
    except jinja2.TemplateError:
        return frozenset()
    named = {
        one.target.name: one.node.value
        for one in tree.find_all(nodes.Assign)
        if isinstance(one.target, nodes.Name) and isinstance(one.node, nodes.Const)
    }
    sought = [node.expr for node in tree.find_all(nodes.Compare) if _searches(node)]
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Getattr) and call.node.attr in _SEEKING:
            sought += call.args
    values = [one.value if isinstance(one, nodes.Const) else named.get(getattr(one, "name", "")) for one in sought]
    return frozenset(value for value in values if isinstance(value, str) and value)


def _searches(node: nodes.Compare) -> bool:
    return any(one.op in ("in", "notin") for one in node.ops)


@functools.lru_cache(maxsize=16)
def _compile(template: str) -> jinja2.Template:
    return _environment().from_string(template)


@functools.cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Spell a value as JSON with transformers' arguments in their order: readable Unicode, no HTML escapes."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
