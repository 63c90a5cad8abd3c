"""Chat templates: Jinja in Hugging Face's convention, run in a sandbox, and the message each part of a chat is from.

A template sees ``messages``, ``add_generation_prompt``, ``bos_token``, ``eos_token`` and ``pad_token``, may call
``raise_exception(text)`` and ``strftime_now(format)``, filter with ``tojson``, and use ``{% generation %}`` blocks and
loop controls. It can neither reach Python's internals nor change its arguments: templates come with models from
elsewhere. Left out: ``tools`` and ``documents``, which belong to the chat floor.

To find the contents of messages in a rendered chat, they are put between marks, characters that occur nowhere else, and
rendered again: so a special token spelled in a content can be told from one the template wrote, and the loss mask needs
no guess. A template that changes contents beyond trimming them is refused.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from seedbed.core.errors import UsageError
from seedbed.tokenizers.special import ASSISTANT, SYSTEM, USER

DEFAULT_TEMPLATE = (  # every turn is a role token, the content as it is, and the end token: small models waste none
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ '" + SYSTEM + "' }}"
    "{% elif message['role'] == 'user' %}{{ '" + USER + "' }}"
    "{% elif message['role'] == 'assistant' %}{{ '" + ASSISTANT + "' }}"
    "{% else %}{{ raise_exception('a role is system, user or assistant, not ' + message['role']) }}{% endif %}"
    "{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)
_PRIVATE = range(0xF0000, 0xFFFFE)  # supplementary private use area A: no text means anything by it
_WRITER = "assistant"
_ROLE = re.compile(r"[A-Za-z][A-Za-z_-]*")


@dataclass(frozen=True)
class MessageSpan:
    """A run of rendered text; ``role`` is that of the message it is the content of, or "" for the template's own."""

    text: str
    role: str = ""


@dataclass
class Segment:
    """Text that is cut into tokens on its own; ``written`` by an assistant; or the name of one ``special`` token."""

    text: str
    special: bool = False
    written: bool = False


def render_spans(source: str, messages: Sequence[Mapping[str, str]], **variables: object) -> list[MessageSpan]:
    """Render a chat and cut it where contents begin and end.

    Raises UsageError where a message lacks role or content, or the template fails or rewrites contents.
    """
    for position, message in enumerate(messages):
        _check(message, position)
    plain = render(source, messages, **variables)
    opening, closing = _marks(source, messages)
    for attempt in (messages, [{**message, "content": message["content"].strip()} for message in messages]):
        marked = [
            {**message, "content": f"{opening}{position}{opening}{message['content']}{closing}"}
            for position, message in enumerate(attempt)
        ]
        spans = list(_cut(render(source, marked, **variables), messages, opening, closing))
        if "".join(span.text for span in spans) == plain:
            return spans
    raise UsageError(
        "the chat template rewrites the contents of messages",
        why="what a message says cannot be found again in the rendered text, so nothing can tell whose words they are",
        fix="use a template that prints each message['content'] as it is (or trimmed)",
    )


def segments(spans: Iterable[MessageSpan], specials: re.Pattern[str], end: str) -> list[Segment]:
    """Cut a rendered chat at the template's special tokens and around what an assistant wrote.

    Args:
        spans: the chat, as :func:`render_spans` gives it.
        specials: finds special tokens in the template's text, one group.
        end: the token that ends a turn; after an assistant's content it counts as written too.
    """
    found: list[Segment] = []
    for span in spans:
        if span.role == _WRITER:
            found.append(Segment(span.text, written=True))
        elif span.role:
            _append(found, span.text)
        else:
            for position, text in enumerate(specials.split(span.text)):
                if position % 2:
                    found.append(Segment(text.strip(), special=True))
                else:
                    _append(found, text)
    for position, segment in enumerate(found):
        if segment.written and not segment.special:
            _write_end(found[position + 1 : position + 3], end)
    return found


def _append(found: list[Segment], text: str) -> None:
    """Add plain text, in one piece with the plain text before it: both are cut into tokens together."""
    if found and text and not (found[-1].special or found[-1].written):
        found[-1].text += text
    elif text:
        found.append(Segment(text))


def _write_end(following: Sequence[Segment], end: str) -> None:
    """Count the end of a turn as written, with the space a template puts before it: else no model learns to stop."""
    blank = following[:1] if following and not following[0].special and following[0].text.isspace() else []
    ending = following[len(blank) : len(blank) + 1]
    if ending and ending[0].special and ending[0].text == end:
        for segment in (*blank, *ending):
            segment.written = True


def _cut(text: str, messages: Sequence[Mapping[str, str]], opening: str, closing: str) -> Iterator[MessageSpan]:
    """Spans of marked text: ``<open>position<open>content<close>``."""
    done = 0
    for found in re.finditer(f"{opening}([0-9]+){opening}([^{closing}]*){closing}", text):
        yield MessageSpan(text[done : found.start()])
        yield MessageSpan(found.group(2), messages[int(found.group(1))]["role"])
        done = found.end()
    yield MessageSpan(text[done:])


def _marks(source: str, messages: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    used = set(source).union(*(value for message in messages for value in message.values()))
    free = list(islice((chr(code) for code in _PRIVATE if chr(code) not in used), 2))
    if len(free) < 2:
        why = f"they hold all {len(_PRIVATE)} characters that could mark where contents begin and end"
        raise UsageError("the messages cannot be encoded", why=why, fix="leave some of these characters out")
    return free[0], free[1]


def _check(message: Mapping[str, str], position: int) -> None:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or not isinstance(content, str) or not _ROLE.fullmatch(role):
        raise UsageError(
            f"message {position + 1} is not a chat message",
            why=f"role is {role!r}, content is {type(content).__name__}",
            fix='give {"role": "user", "content": "…"}: a role in letters, a content that is text',
        )


class _Generation(Extension):
    """``{% generation %}`` marks an assistant's words; here it only prints: the mask comes from the messages."""

    tags = {"generation"}  # noqa: RUF012 (jinja2 declares it so)

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def render(template: str, messages: Sequence[Mapping[str, str]], **variables: object) -> str:
    """Render a chat template.

    Raises UsageError where it is not valid, refuses these messages, or reaches for what the sandbox forbids.
    """
    try:
        return _compile(template).render(messages=[dict(message) for message in messages], **variables)
    except (jinja2.TemplateError, TypeError, ArithmeticError, LookupError, ValueError, OverflowError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}" if line else ""
        raise UsageError(
            "the chat template cannot be rendered",
            why=f"{type(error).__name__}{place}: {error}",
            fix="correct the messages (role and content, in an order the template allows) or the template",
        ) from error


@functools.lru_cache(maxsize=16)
def _compile(template: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment.from_string(template)


def _to_json(value: Any, indent: int | None = None) -> str:
    """As Hugging Face: readable Unicode, no HTML escapes."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _raise(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
