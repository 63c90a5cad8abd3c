"""Ask a model for a value: its reply follows a form, by mask where there is one, by one repair where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, Unpack

from seedbed.chat.messages import Message, Reply, Usage
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.parsing import Form
from seedbed.chat.prompts import Prompt
from seedbed.core.errors import DataError

T = TypeVar("T")
REPAIR = Prompt("That cannot be used: {error}\n{instruction}", "repair")
INSTRUCTED = Prompt("{content}\n\n{instruction}", "instructed")


@dataclass(frozen=True)
class Parsed(Generic[T]):
    """A value with the reply that holds it; ``usage`` counts a failed attempt too."""

    value: T
    reply: Reply
    usage: Usage
    repaired: bool = False


def ask_for(
    model: ChatModel, messages: Sequence[Message], form: Form[T], *, mask: bool = True, **options: Unpack[ReplyOptions]
) -> Parsed[T]:
    """Reply in a form, and parse it.

    A reply that ended by itself and does not fit was not masked: the model is told what is wrong with it, once. One
    that was cut off by its limit of tokens would be cut off again. Without ``mask``, for servers that refuse or ignore
    grammars, the form is asked for in words. Raises DataError where the reply does not have the form.
    """
    if mask:
        options["grammar"] = form.grammar
    else:
        last = messages[-1]
        told = INSTRUCTED.fill(content=last.text, instruction=form.instruction)
        messages = [*messages[:-1], Message(last.role, told, last.tool_calls, last.tool_call_id)]
    reply = model.reply(messages, **options)
    try:
        return Parsed(form.parse(reply.text), reply, reply.usage)
    except DataError as error:
        if reply.finish != "stop":
            raise
        told = REPAIR.fill(error=error.why, instruction=form.instruction)
    again = model.reply([*messages, Message("assistant", reply.text), Message("user", told)], **options)
    return Parsed(form.parse(again.text), again, reply.usage + again.usage, True)
