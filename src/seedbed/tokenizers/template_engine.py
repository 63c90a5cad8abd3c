"""Jinja in a sandbox, for chat templates; :mod:`~seedbed.tokenizers.chat_template` runs foreign ones in a capped child.

Jinja's sandbox keeps a template from Python's internals. Nothing in it bounds time and memory: a loop, a format of
three thousand million columns or a text that doubles itself is an ordinary template to it.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import meta, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from seedbed.core.errors import UsageError

_SEEKING = ("split", "rsplit", "partition", "rpartition", "startswith", "endswith", "find", "index", "count")


class _Generation(Extension):
    """``{% generation %}`` marks an assistant's words; here it only prints: the mask comes from the messages."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def render(template: str, messages: Sequence[Mapping[str, Any]], variables: Mapping[str, object]) -> str:
    """Render a template. Raises UsageError where it is not valid, refuses these messages, or reaches too far."""
    given = {"tools": None, "documents": None} | dict(variables)
    with _refusals():
        return _compile(template).render(messages=[dict(message) for message in messages], **given)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise UsageError for what Jinja finds wrong with a template, or the template with the messages."""
    try:
        yield
    except (MemoryError, RecursionError):  # of the sandbox around us
        raise
    except Exception as error:  # Python's SyntaxError too: Jinja writes a program
        line = getattr(error, "lineno", None)
        place = f", line {line}" if line else ""
        raise UsageError(
            "the chat template cannot be rendered",
            why=f"{type(error).__name__}{place}: {error}",
            fix="correct the messages (role and content, in an order the template allows) or the template",
        ) from error


def variables_of(template: str) -> list[str]:
    """Return the names of the variables that a template reads and that are not its engine's own; raises UsageError."""
    with _refusals():
        return sorted(meta.find_undeclared_variables(_environment().parse(template)) - {*_environment().globals})


def texts_of(template: str) -> list[str]:
    """Return the texts that a template looks for in contents; none for a template that is not valid."""
    try:
        tree = _environment().parse(template)
    except jinja2.TemplateError:
        return []
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
    return sorted({value for value in values if isinstance(value, str) and value})


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


OPERATIONS: dict[str, Callable[..., Any]] = {"render": render, "variables": variables_of, "texts": texts_of}


def run(operation: str, order: Mapping[str, Any]) -> Any:
    """Do one of :data:`OPERATIONS`; for the capped child."""
    return OPERATIONS[operation](**order)
