"""What chat completions and responses share: from messages and tools to a prompt, from pieces to text and a call."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from seedbed.inference.decoding import Token
from seedbed.inference.parameters import Grammar
from seedbed.inference.text import Piece, fit_conversation
from seedbed.serve.errors import refuse
from seedbed.serve.pool import Served
from seedbed.serve.schemas.base import Controls
from seedbed.serve.schemas.bodies import ChatMessage, Content, FlatNamedTool, Function, JsonFormat, NamedTool
from seedbed.serve.strict_schemas import strict_schema
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.tools import CallReader, call_grammar, describe_functions, write_call, write_result

Messages = list[dict[str, str]]


def text_of(content: Content | None) -> str:
    """All text of a content."""
    return "".join(part.text for part in content) if isinstance(content, list) else content or ""


def plain_messages(messages: Sequence[ChatMessage]) -> Messages:
    """Messages as chat templates know them: calls and their results are text. Raises ApiError for one that is none."""
    calls: dict[str, str] = {}
    plain = []
    for place, message in enumerate(messages):
        where, content = f"messages.{place}", f"{message.name}: " if message.name else ""
        content += text_of(message.content)
        role = {"developer": "system", "tool": "user"}.get(message.role, message.role)
        if (message.tool_calls and message.role != "assistant") or (message.tool_call_id and message.role != "tool"):
            raise refuse(f"{where} has a call", why=f"its role is {message.role}", fix="leave it out", param=where)
        if message.content is None and not message.tool_calls:
            raise refuse(f"{where} has no content", why="a message says something", fix="give some", param=where)
        for call in message.tool_calls:
            calls[call.id] = call.function.name
            content += write_call(call.function.name, _arguments(call.function.arguments, where))
        if message.role == "tool":
            if message.tool_call_id not in calls:
                why = "no message before it made such a call"
                raise refuse(f"{where} answers {message.tool_call_id}", why=why, fix="give the call too", param=where)
            content = write_result(calls[message.tool_call_id], content)
        plain.append({"role": role, "content": content})
    return plain


def _arguments(text: str, where: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except (ValueError, RecursionError) as error:
        raise refuse(f"{where} calls without JSON", why=str(error), fix="give JSON", param=where) from error


@dataclass(frozen=True)
class Toolbox:
    """The functions a reply may or must call."""

    functions: tuple[Function, ...]
    required: bool

    @classmethod
    def of(cls, functions: Sequence[Function], choice: str | NamedTool | FlatNamedTool | None) -> Toolbox | None:
        """What a request's tools and tool_choice ask for; None where there is nothing to call."""
        named = choice.name if isinstance(choice, (NamedTool, FlatNamedTool)) else None
        if named is not None or choice == "required":
            chosen = tuple(one for one in functions if named in (None, one.name))
            if not chosen:
                raise refuse("tool_choice has no tool", why="tools holds none such", fix="add it", param="tool_choice")
            return cls(chosen, True)
        return cls(tuple(functions), False) if functions and choice != "none" else None


async def encode(served: Served, messages: Messages, toolbox: Toolbox | None, room: int | None = None) -> list[int]:
    """The prompt of a conversation; with ``room`` for a reply, its oldest turns are left out until that fits."""
    if toolbox:
        told = [one.model_dump(include={"name", "description", "parameters"}) for one in toolbox.functions]
        system = messages[0]["content"] + "\n\n" if messages[0]["role"] == "system" else ""
        rest = messages[1:] if system else messages
        messages = [{"role": "system", "content": system + describe_functions(told)}, *rest]
    if room is not None:
        return (await asyncio.to_thread(fit_conversation, served.tokenizer, messages, served.window, room))[0]
    ids, _ = await asyncio.to_thread(served.tokenizer.encode_chat, messages, add_generation_prompt=True)
    return ids


def grammar_of(kind: str, wanted: JsonFormat | None, toolbox: Toolbox | None) -> Grammar | None:
    """What a reply must look like, from its format and the functions it may call."""
    schema: dict[str, Any] | None = None
    if kind != "text":
        schema = {"type": "object"} if kind == "json_object" else strict_schema(wanted.schema_) if wanted else {}
    if toolbox:
        otherwise = None if toolbox.required else "text" if schema is None else schema
        parameters = {one.name: strict_schema(one.parameters) for one in toolbox.functions}
        return Grammar("lark", call_grammar(parameters, otherwise))
    return None if schema is None else Grammar("json_schema", json.dumps(schema))


@dataclass(frozen=True)
class Part:
    """What one piece adds to a reply; ``call`` names a function whose call begins."""

    content: str
    call: str
    arguments: str
    logprobs: list[dict[str, Any]]


@dataclass
class Reply:
    """A reply as it grows."""

    tokenizer: Tokenizer
    reader: CallReader | None
    wants_logprobs: bool
    tokens: int = 0
    content: str = ""
    name: str = ""
    arguments: str = ""
    finish: str | None = None
    call_id: str = field(default_factory=lambda: f"call_{secrets.token_hex(12)}")
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    def add(self, piece: Piece) -> Part:
        """Take the next piece. The end token belongs to no text, so its log-probability is left out."""
        self.tokens += 1
        shown = self.reader.push(piece.text, bool(piece.finish)) if self.reader else (piece.text, "", "")
        wanted = self.wants_logprobs and piece.finish != "end"
        entries = [token_logprob(self.tokenizer, piece.token)] if wanted else []
        part = Part(*shown, entries)
        self.content, self.name = self.content + part.content, self.name or part.call
        self.arguments += part.arguments
        self.logprobs += entries
        if piece.finish:
            self.finish = "tool_calls" if self.name and piece.finish == "end" else finish_reason(piece.finish)
        return part


def finish_reason(finish: str) -> str:
    """OpenAI's word for why a reply ends."""
    return "length" if finish == "length" else "stop"


def token_logprob(tokenizer: Tokenizer, token: Token) -> dict[str, Any]:
    """A token with its log-probability and the most probable ones in its place."""
    tops = [_entry(tokenizer, one, logprob) for one, logprob in token.top]
    return {**_entry(tokenizer, token.id, token.logprob), "top_logprobs": tops}


def _entry(tokenizer: Tokenizer, token: int, logprob: float) -> dict[str, Any]:
    data = list(tokenizer.token_bytes(token))
    return {"token": tokenizer.pieces([token])[0], "logprob": finite(logprob), "bytes": data}


def finite(logprob: float) -> float:
    """A log-probability as JSON can hold it, which knows no infinity (OpenAI's convention)."""
    return max(logprob, -9999.0)


def head_of(kind: str, body: Controls, served: Served) -> dict[str, Any]:
    """What all chunks of an answer begin with."""
    made = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time())}
    return {**made, "model": body.model, "system_fingerprint": served.fingerprint}


def usage(prompt: int, written: int) -> dict[str, int]:
    """How many tokens were read and written."""
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
