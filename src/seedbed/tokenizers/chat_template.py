"""Chat templates: Jinja in Hugging Face's convention, run in a sandbox and, foreign ones, in a capped child.

A template sees ``messages``, ``add_generation_prompt``, ``bos_token``, ``eos_token`` and ``pad_token``, may call
``raise_exception(text)`` and ``strftime_now(format)``, filter with ``tojson``, and use ``{% generation %}`` blocks and
loop controls. It can neither reach Python's internals nor change its arguments: templates come with models from
elsewhere. ``tools`` and ``documents`` are always none: they belong to the chat floor. Templates are programs, so only
our own is trusted with this process; a loop without end or a text of gigabytes ends the child.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from seedbed.core import sandbox
from seedbed.core.errors import UsageError
from seedbed.tokenizers.special import ASSISTANT, SYSTEM, USER

BUDGET = sandbox.Budget(seconds=5.0, memory_bytes=256_000_000)
"""Of rendering one chat, the start of its child included."""
_CHILDREN = 3  # chats that are rendered at once

DEFAULT_TEMPLATE = (  # every turn is a role token, the content as it is, and the end token: small models waste none
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ '" + SYSTEM + "' }}"
    "{% elif message['role'] == 'user' %}{{ '" + USER + "' }}"
    "{% elif message['role'] == 'assistant' %}{{ '" + ASSISTANT + "' }}"
    "{% else %}{{ raise_exception('a role is system, user or assistant, not ' + message['role']) }}{% endif %}"
    "{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "' }}{% endif %}"
)


def check_variables(source: str, given: Mapping[str, object], own: Collection[str]) -> None:
    """Raise UsageError for a variable that says something (not false, 0 or "") and that a template does not read.

    ``own``: the names of special tokens, which are not the caller's to set.
    """
    if not given:
        return
    own = {*own, "messages", "add_generation_prompt", "tools", "documents"}
    read = set(_variables(source)) - own
    if wrong := next((name for name, value in given.items() if name in own or (value and name not in read)), None):
        why = "it is set by the conversation" if wrong in own else "it would change nothing"
        fix = f"it reads {', '.join(sorted(read))}" if read else "leave it out: it reads no further variables"
        raise UsageError(f"the chat template has no variable {wrong!r} to set", why=why, fix=fix)


def render(template: str, messages: Sequence[Mapping[str, Any]], **variables: object) -> str:
    """Render a chat template.

    Raises UsageError where it is not valid, refuses these messages, or reaches for what the sandbox forbids.
    """
    plain = [dict(message) for message in messages]
    return str(_do("render", template, messages=plain, variables=variables))


def check_budget(template: str) -> None:
    """Raise UsageError for a template that breaks its budget on a plain chat; it may refuse the chat, as some do."""
    try:
        render(template, [{"role": "user", "content": "a"}], add_generation_prompt=True)
    except UsageError as error:
        if isinstance(error.__cause__, sandbox.OutOfBudget):
            raise


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
    return frozenset(_do("texts", template))


@functools.lru_cache(maxsize=16)
def _variables(template: str) -> tuple[str, ...]:
    return tuple(_do("variables", template))


def _do(operation: str, template: str, **order: Any) -> Any:
    """Do an operation of the engine. Raises UsageError where the template breaks its budget, or fails as it may not."""
    given = {"template": template, **order}
    if template == DEFAULT_TEMPLATE:
        from seedbed.tokenizers.template_engine import OPERATIONS  # jinja2: not before it is used here

        return OPERATIONS[operation](**given)
    try:
        return _children().ask({"operation": operation, "order": given})
    except sandbox.OutOfBudget as error:
        fix = "use another template: this one is a program that does too much"
        raise UsageError("the chat template cannot be rendered", why=error.why, fix=fix) from error


@functools.cache
def _children() -> sandbox.KeptChildren:
    return sandbox.KeptChildren("seedbed.tokenizers.template_engine:run", BUDGET, _CHILDREN)
