"""What chat completions and responses share: from messages and tools to a prompt, from pieces to text and a call."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from seedbed.chat import rendering
from seedbed.chat.messages import Message, Role, Tool, ToolCall
from seedbed.chat.rendering import PlainMessages, Toolbox, reply_grammar
from seedbed.inference.decoding import Token
from seedbed.inference.parameters import Grammar
from seedbed.inference.text import Piece, fit_conversation
from seedbed.serve.errors import refuse
from seedbed.serve.pool import Served
from seedbed.serve.schemas.base import Controls
from seedbed.serve.schemas.bodies import ChatMessage, Content, FlatNamedTool, Function, JsonFormat, NamedTool
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.tools import CallReader


def text_of(content: Content | None) -> str:
    """All text of a content."""
    return "".join(part.text for part in content) if isinstance(content, list) else content or ""


def plain_messages(messages: Sequence[ChatMessage]) -> PlainMessages:
    """Messages as chat templates know them: calls and their results are text. Raises DataError for one that is none."""
    for place, message in enumerate(messages):
        if message.content is None and not message.tool_calls:
            where = f"messages.{place}"
            raise refuse(f"{where} has no content", why="a message says something", fix="give some", param=where)
    return rendering.plain_messages([_message(message) for message in messages])


def _message(message: ChatMessage) -> Message:
    content = (f"{message.name}: " if message.name else "") + text_of(message.content)
    calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in message.tool_calls)
    role: Role = "system" if message.role == "developer" else message.role
    return Message(role, content, calls, message.tool_call_id)


def toolbox_of(functions: Sequence[Function], choice: str | NamedTool | FlatNamedTool | None) -> Toolbox | None:
    """What a request's tools and tool_choice ask for; None where there is nothing to call."""
    tools = [Tool(one.name, one.description, one.parameters) for one in functions]
    return Toolbox.of(tools, choice.name if isinstance(choice, (NamedTool, FlatNamedTool)) else choice)


async def encode(
    served: Served, messages: PlainMessages, toolbox: Toolbox | None, room: int | None = None
) -> list[int]:
    """The prompt of a conversation; with ``room`` for a reply, its oldest turns are left out until that fits."""
    messages = toolbox.describe(messages) if toolbox else messages
    if room is not None:
        return (await asyncio.to_thread(fit_conversation, served.tokenizer, messages, served.window, room))[0]
    ids, _ = await asyncio.to_thread(served.tokenizer.encode_chat, messages, add_generation_prompt=True)
    return ids


def grammar_of(kind: str, wanted: JsonFormat | None, toolbox: Toolbox | None) -> Grammar | None:
    """What a reply must look like, from its format and the functions it may call."""
    if kind == "text":
        return reply_grammar(None, toolbox)
    schema = {"type": "object"} if kind == "json_object" else wanted.schema_ if wanted else {}
    return reply_grammar(Grammar("json_schema", json.dumps(schema)), toolbox)


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
