"""The options of a reply: checked by name and type, as the engine takes them, and as traces tell them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.chat.messages import Message, Reply
from seedbed.chat.model import ReplyOptions
from seedbed.chat.rendering import Toolbox
from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Grammar, Sampling

SAMPLED = {field.name: field for field in dataclasses.fields(Sampling) if field.name in ReplyOptions.__annotations__}
"""The fields of :class:`Sampling` that a reply's options have too."""


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say something; None is as good as left out. Raises UsageError for an unknown one."""
    known = list(ReplyOptions.__annotations__)
    if unknown := [name for name in options if name not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        fix = f"did you mean {near[0]}?" if near else f"the options are {', '.join(known)}"
        why = "a model would ignore it, and nobody would know"
        raise UsageError(f"there is no option {', '.join(unknown)}", why=why, fix=fix)
    return {name: value for name, value in options.items() if value is not None}


def sampling_of(options: Mapping[str, Any], default: Sampling, grammar: Grammar | None) -> Sampling:
    """Options as the engine takes them; what is left out is as in ``default``.

    Raises UsageError for a value of the wrong type or out of range.
    """
    changes = {name: _typed(name, value) for name, value in options.items() if name in SAMPLED and name != "grammar"}
    return dataclasses.replace(default, **changes, grammar=grammar)


def toolbox_of(options: Mapping[str, Any]) -> Toolbox | None:
    """Return the tools that options offer, if any. Raises UsageError as :meth:`Toolbox.of`."""
    several = options.get("parallel_tool_calls", False)
    if not isinstance(several, bool):
        raise _wrong("parallel_tool_calls", several, "True or False")
    return Toolbox.of(options.get("tools", ()), options.get("tool_choice"), several)


def guarded(sampling: Sampling, wanted: object = None) -> bool:
    """Tell whether a reply is ended when it repeats itself: unless ``wanted`` is False, or it has a form or a length.

    Under a grammar, a schema or tools a cut would break the form, and a reply without an end is asked for as it is.
    Raises UsageError where ``wanted`` is no choice.
    """
    if wanted is not None and not isinstance(wanted, bool):
        raise _wrong("repetition_guard", wanted, "True or False")
    return wanted is not False and sampling.grammar is None and not sampling.ignore_end


def stop_texts(value: object) -> tuple[str, ...]:
    """One stop text or several. Raises UsageError for what is neither."""
    found = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else (None,)
    if not all(isinstance(text, str) for text in found):
        raise _wrong("stop", value, "texts")
    return tuple(str(text) for text in found)


def start_data(messages: Sequence[Message], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of a trace's event at the start of a model's work."""
    plain = {name: value for name, value in options.items() if isinstance(value, (int, float, str))}
    return {**plain, "content": {"messages": [message.to_wire() for message in messages]}}


def end_data(reply: Reply) -> dict[str, Any]:
    """Return the data of a trace's event at the end of a model's work."""
    content = {"text": reply.text, "tool_calls": [call.to_wire() for call in reply.tool_calls]}
    counts = {"prompt_tokens": reply.usage.prompt_tokens, "completion_tokens": reply.usage.completion_tokens}
    loop = {"repetition": reply.repetition.to_wire()} if reply.repetition else {}
    return {**counts, "finish": reply.finish, **loop, "content": content}


def _typed(name: str, value: Any) -> Any:
    if name == "stop":
        return stop_texts(value)
    real = isinstance(SAMPLED[name].default, float)
    if isinstance(value, bool) or not isinstance(value, (int, float) if real else int):
        raise _wrong(name, value, "a number" if real else "a whole number")
    return value


def _wrong(name: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"{name} is not {wanted}", why=f"it is {value!r}"[:200], fix=f"give {wanted}")
