"""Bodies of requests to conversations: the one place where OpenAI's form becomes messages, tools and sampling.

Inside, the server knows no bodies' fields of messages or tools; ``to_wire.py`` is the way back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from seedbed.chat.messages import Message, TextPart, Tool, ToolCall
from seedbed.chat.options import guarded
from seedbed.chat.rendering import Toolbox, reply_grammar, unenforced
from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.published_sampling import PublishedSampling
from seedbed.serve.bodies import (
    SHAPES,
    ChatMessage,
    ChatRequest,
    Function,
    FunctionName,
    JsonFormat,
    NamedTool,
)
from seedbed.serve.errors import refuse
from seedbed.serve.response_bodies import ResponseRequest


@dataclass(frozen=True)
class ReplyTask:
    """One conversation to answer."""

    messages: Sequence[Message]
    toolbox: Toolbox | None
    sampling: Sampling  # with its seed fixed; the further replies' seeds follow it
    salt: str  # only requests with the same salt share cached prefixes
    replies: int = 1
    wants_logprobs: bool = False
    truncates: bool = False  # leave out the oldest turns until prompt and reply fit
    guarded: bool = False  # end a reply that repeats itself
    unenforced: Sequence[str] = ()  # of the schemas, what the reply need not follow
    variables: Mapping[str, object] = field(default_factory=dict)  # of the chat template


def chat_task(body: ChatRequest, owner: str, window: int, stated: PublishedSampling) -> ReplyTask:
    """Read a chat completion for a model with that window, and the sampling that its publishers state.

    Raises ApiError for what cannot be honoured.
    """
    toolbox = _toolbox([tool.function for tool in body.tools], body)
    wanted = body.response_format
    grammar, left = _grammar(wanted.type, wanted.json_schema, toolbox)
    sampling = body.sampling(chat_limit(body) or window, body.top_logprobs, grammar, stated)
    messages, watched = messages_of(body.messages), guarded(sampling, body.repetition_guard)
    return ReplyTask(
        messages,
        toolbox,
        sampling,
        body.salt(owner),
        body.n,
        body.logprobs,
        guarded=watched,
        unenforced=left,
        variables=body.chat_template_kwargs,
    )


def response_task(
    body: ResponseRequest, items: Sequence[Mapping[str, Any]], owner: str, window: int, stated: PublishedSampling
) -> ReplyTask:
    """Read a request for a response to these items, those of earlier responses among them."""
    toolbox, form = _toolbox(body.tools, body), body.text.format
    grammar, left = _grammar(form.type, form, toolbox)
    sampling = body.sampling(body.max_output_tokens or window, body.top_logprobs, grammar, stated)
    messages = response_messages(body, items)
    salt, truncates = body.salt(owner), body.truncation == "auto"
    watched = guarded(sampling, body.repetition_guard)
    return ReplyTask(messages, toolbox, sampling, salt, 1, bool(body.include), truncates, watched, left)


def chat_limit(body: ChatRequest) -> int | None:
    """Check fields against each other. Returns the limit of tokens."""
    limit, newer = body.max_tokens, body.max_completion_tokens
    if limit and newer and limit != newer:
        raise refuse("two limits", why="max_tokens is the old name", fix="keep the other", param="max_tokens")
    if body.top_logprobs and not body.logprobs:
        raise refuse("top_logprobs without logprobs", why="they go together", fix="set logprobs", param="logprobs")
    if (body.response_format.type == "json_schema") != bool(body.response_format.json_schema):
        raise refuse("a json_schema that does not fit its type", why="type and schema belong together", fix="give both")
    return newer or limit


def messages_of(given: Sequence[ChatMessage]) -> list[Message]:
    """Read messages; a speaker's name is written before the content. Raises ApiError for one that says nothing."""
    found = []
    for place, message in enumerate(given):
        if message.content is None and not message.tool_calls:
            where = f"messages.{place}"
            raise refuse(f"{where} has no content", why="a message says something", fix="give some", param=where)
        read, name = Message.from_wire(message.model_dump()), [TextPart(f"{message.name}: ")] if message.name else []
        found.append(Message(read.role, [*name, *read.content], read.tool_calls, read.tool_call_id))
    return found


def refuse_beside_documents(body: ChatRequest | ResponseRequest, messages: Sequence[Message]) -> None:
    """Raise ApiError for options that questions to documents do not have, and for those that a quotation has not."""
    assert body.documents is not None
    form = body.response_format if isinstance(body, ChatRequest) else body.text.format
    wrong: dict[str, Any] = {"tools": body.tools, "structured_outputs": body.structured_outputs.grammars()}
    if isinstance(body, ChatRequest):
        wrong |= {"n": body.n > 1, "logprobs": body.logprobs, "response_format": form.type != "text"}
        wrong["chat_template_kwargs"] = any(body.chat_template_kwargs.values())
    else:
        wrong |= {"include": body.include, "text.format": form.type != "text"}
    if given := [name for name, value in wrong.items() if value]:
        why = "a chain's prompts and answers have forms of their own"
        raise refuse(f"documents and {given[0]} at once", why=why, fix=f"leave out {given[0]}", param=given[0])
    if body.documents.chain == "extract":
        _refuse_beside_quotation(body, messages)


def _refuse_beside_quotation(body: ChatRequest | ResponseRequest, messages: Sequence[Message]) -> None:
    """Raise ApiError for what would shape a model's words. A limit, a seed and temperature 0 change no quotation."""
    neutral = {name: type(body).model_fields[name].default for name in SHAPES} | {"temperature": 0.0}
    given = [name for name in SHAPES if name in body.model_fields_set and getattr(body, name) != neutral[name]]
    if any(message.role == "system" for message in messages):
        given.append("instructions" if isinstance(body, ResponseRequest) and body.instructions else "messages")
    if given:
        named = "a system message" if given[0] == "messages" else given[0]
        why, fix = "it quotes: no model writes the answer", f"leave out {named}, or name the chain cited"
        raise refuse(f"the chain extract and {named} at once", why=why, fix=fix, param=given[0])


def response_messages(body: ResponseRequest, items: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Read a response's conversation: its instructions, then its items."""
    told = [Message("system", body.instructions)] if body.instructions else []
    return [*told, *_messages_of_items(items)]


def _messages_of_items(items: Iterable[Mapping[str, Any]]) -> list[Message]:
    """Read items of responses; calls belong to the assistant's message before them."""
    found: list[Message] = []
    for item in items:
        if item["type"] == "function_call":
            call = ToolCall(item["call_id"], item["name"], item["arguments"])
            before = found.pop() if found and found[-1].role == "assistant" else Message("assistant", "")
            found.append(Message("assistant", before.content, (*before.tool_calls, call)))
        elif item["type"] == "function_call_output":
            wire = {"role": "tool", "content": item["output"], "tool_call_id": item["call_id"]}
            found.append(Message.from_wire(wire))
        else:
            found.append(Message.from_wire({"role": item["role"], "content": item["content"]}))
    return found


def _toolbox(functions: Sequence[Function], body: ChatRequest | ResponseRequest) -> Toolbox | None:
    choice = body.tool_choice.function if isinstance(body.tool_choice, NamedTool) else body.tool_choice
    tools = [Tool(one.name, one.description, one.parameters, bool(one.strict)) for one in functions]
    named = choice.name if isinstance(choice, FunctionName) else choice
    return Toolbox.of(tools, named, body.parallel_tool_calls)


def _grammar(kind: str, wanted: JsonFormat | None, toolbox: Toolbox | None) -> tuple[Grammar | None, list[str]]:
    """Return the grammar of a reply, and what of the schemas in it is not kept."""
    if kind == "text":
        return reply_grammar(None, toolbox), unenforced(toolbox)
    schema = {"type": "object"} if kind == "json_object" else wanted.schema_ if wanted else {}
    form, strict = Grammar("json_schema", json.dumps(schema)), not wanted or wanted.strict
    return reply_grammar(form, toolbox, strict), unenforced(toolbox, None if strict else form)
