"""Replies to OpenAI's form: chat completions, their chunks, completions' log-probabilities, responses and their events.

The one place where what a model wrote becomes the wire's form; ``from_wire.py`` is the way in.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seedbed.chat.messages import Delta, ToolCallDelta, Usage
from seedbed.chat.reply_builder import ReplyBuilder, StreamDecoder
from seedbed.core.errors import SeedbedError
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Event, Token
from seedbed.serve.bodies import CompletionRequest, Controls
from seedbed.serve.response_bodies import ResponseRequest

Table = dict[str, Any]
Top = tuple[tuple[int, float], ...]


def sse(data: Mapping[str, Any], event: str = "") -> str:
    """Write one server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, separators=(',', ':'))}\n\n"  # ASCII: some clients cut lines at U+2028


def head_of(kind: str, body: Controls, fingerprint: str) -> Table:
    """Return the fields that all chunks of an answer begin with."""
    made = {"id": f"{kind}-{secrets.token_hex(12)}", "created": int(time.time())}
    return {**made, "model": body.model, "system_fingerprint": fingerprint}


def usage_of(replies: Sequence[ReplyBuilder]) -> Usage:
    """Return the usage of replies to one prompt."""
    return Usage(replies[0].prompt_tokens, sum(reply.written for reply in replies))


def chat_choice(index: int, reply: ReplyBuilder) -> Table:
    """Write a whole reply as a choice of a chat completion."""
    message: Table = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.tool_calls:
        message["content"] = reply.text or None
        message["tool_calls"] = [call.to_wire() for call in reply.tool_calls]
    found = {"content": _logprobs(reply, reply.tokens), "refusal": None} if reply.wants_logprobs else None
    return {"index": index, "message": message, "logprobs": found, "finish_reason": reply.finish, **_loop(reply)}


def chat_delta(index: int, reply: ReplyBuilder, delta: Delta) -> Table | None:
    """Write a part of a reply as a choice of a chunk; None where it would say nothing."""
    fresh: Table = {"content": delta.text} if delta.text else {}
    if delta.tool_calls:
        fresh["tool_calls"] = [_call_delta(call) for call in delta.tool_calls]
    if not (fresh or reply.finish or reply.wants_logprobs):
        return None
    tokens = _spoken(reply, delta)
    found = {"content": _logprobs(reply, tokens), "refusal": None} if tokens else None
    return {"index": index, "delta": fresh, "logprobs": found, "finish_reason": reply.finish, **_loop(reply)}


def _loop(reply: ReplyBuilder) -> Table:
    """Write the loop that ended a reply: a field of ours, which is there only then."""
    return {"repetition": reply.repetition.to_wire()} if reply.repetition else {}


def _call_delta(call: ToolCallDelta) -> Table:
    function = {"arguments": call.arguments}
    if not call.name:
        return {"index": call.index, "function": function}
    return {"index": call.index, "id": call.id, "type": "function", "function": {"name": call.name, **function}}


def _spoken(reply: ReplyBuilder, delta: Delta) -> list[Token]:
    """Return the token of a part where log-probabilities are wanted; the end token belongs to no text."""
    token = delta.token
    return [token] if reply.wants_logprobs and token and token.finish != "end" else []


def _logprobs(reply: ReplyBuilder, tokens: Sequence[Token]) -> list[Table]:
    """Write tokens with their log-probabilities and the most probable ones in their places."""

    def entry(token: int, logprob: float) -> Table:
        [piece], data = reply.tokenizer.pieces([token]), list(reply.tokenizer.token_bytes(token))
        return {"token": piece, "logprob": _finite(logprob), "bytes": data}

    return [{**entry(one.id, one.logprob), "top_logprobs": [entry(*top) for top in one.top]} for one in tokens]


def _finite(logprob: float) -> float:
    """Return a log-probability as JSON can hold it, which knows no infinity (OpenAI's convention)."""
    return max(logprob, -9999.0)


class CompletionWriter:
    """Writes one reply to one prompt in the form of completions, with the prompt itself where it is wanted."""

    def __init__(self, index: int, body: CompletionRequest, prompt: Sequence[int], reply: ReplyBuilder) -> None:
        self._index, self._body, self._prompt, self._reply = index, body, prompt, reply
        self._decoder, self._offset = StreamDecoder(reply.tokenizer, () if body.echo else prompt), 0
        self._text, self._table = "", self._no_table()

    def add(self, delta: Delta, event: Event) -> Table | None:
        """Take the next part. Returns it as a choice of a chunk; None where it would say nothing."""
        fresh, tokens = "", list[tuple[int, float | None, Top]]()
        if self._body.echo and self._reply.written == 1:
            fresh, tops = self._reply.tokenizer.decode(self._prompt), event.prompt_top or [()] * (len(self._prompt) - 1)
            tokens = list(zip(self._prompt, event.prompt_logprobs or [], [(), *tops], strict=False))
        if self._body.max_tokens and delta.token:
            fresh, tokens = fresh + delta.text, [*tokens, (delta.token.id, delta.token.logprob, delta.token.top)]
        self._text += fresh
        new = None if self._table is None else self._rows(tokens)
        for name, values in (new or {}).items():
            self._table[name] += values  # type: ignore[index]
        return self._choice(fresh, new) if fresh or new or self._reply.finish else None

    def choice(self) -> Table:
        """Return the whole reply as a choice."""
        return self._choice(self._text, self._table)

    def _choice(self, text: str, table: Table | None) -> Table:
        return {"index": self._index, "text": text, "logprobs": table, "finish_reason": self._reply.finish}

    def _no_table(self) -> Table | None:
        names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
        return None if self._body.logprobs is None else {name: [] for name in names}

    def _rows(self, tokens: Sequence[tuple[int, float | None, Top]]) -> Table:
        """Write log-probabilities in OpenAI's older form."""
        names, table = self._reply.tokenizer.pieces, self._no_table() or {}
        for token, logprob, top in tokens:
            [name] = names([token])
            logprob = None if logprob is None else _finite(logprob)
            best = {names([one])[0]: _finite(value) for one, value in top} | {name: logprob}
            row = (name, logprob, None if logprob is None else best, self._offset)
            for column, value in zip(table.values(), row, strict=True):
                column.append(value)
            self._offset += len(self._decoder.push(token))
        return table


def response_record(body: ResponseRequest, sampling: Sampling) -> Table:
    """Write a response that has just begun."""
    same = ("instructions", "metadata", "model", "previous_response_id", "max_output_tokens")
    more = ("parallel_tool_calls", "store", "tools", "top_logprobs", "truncation")
    dumped = body.model_dump(mode="json", by_alias=True)
    return {
        "id": f"resp_{secrets.token_hex(24)}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "output": [],
        "service_tier": "default",
        "tool_choice": dumped["tool_choice"] or "auto",
        "usage": None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "text": {"format": body.text.format.model_dump(by_alias=True, exclude_unset=True)},
        **{name: dumped[name] for name in (*same, *more)},
    }


class ResponseWriter:
    """Writes a reply into a response's output, and the events that tell of it.

    ``trims``: nobody reads the events, so that the copies of a loop can still be left out.
    """

    def __init__(self, record: Table, reply: ReplyBuilder, trims: bool) -> None:
        self.record, self.reply, self._trims = record, reply, trims
        self.failure: SeedbedError | None = None
        self._number, self._open = 0, Table()

    def event(self, kind: str, **fields: Any) -> str:
        """Write one event of a stream."""
        self._number += 1
        return sse({"type": f"response.{kind}", "sequence_number": self._number - 1, **fields}, f"response.{kind}")

    def add(self, delta: Delta) -> Iterator[str]:
        """Yield the events of one part of the reply."""
        tokens = [] if self.reply.tool_calls else _spoken(self.reply, delta)
        if delta.text or tokens:
            yield from self._begin_text()
            logprobs = _logprobs(self.reply, tokens)
            [text] = self._open["content"]
            text["text"] += delta.text
            text["logprobs"] += logprobs
            yield self._tell("output_text.delta", self._open, content_index=0, delta=delta.text, logprobs=logprobs)
        for call in delta.tool_calls:
            if call.name:
                yield from self._close("completed")
                begun = {"call_id": call.id, "name": call.name, "arguments": ""}
                yield self._begin({"type": "function_call", "id": f"fc_{secrets.token_hex(12)}", **begun})
            if call.arguments:
                self._open["arguments"] += call.arguments
                yield self._tell("function_call_arguments.delta", self._open, delta=call.arguments)

    def annotate(self, annotations: Sequence[Table]) -> Iterator[str]:
        """Yield the events of annotations of the text that is open."""
        yield from self._begin_text()
        [part] = self._open["content"]
        for place, one in enumerate(annotations):
            part["annotations"].append(one)
            more = {"annotation_index": place, "annotation": one}
            yield self._tell("output_text.annotation.added", self._open, content_index=0, **more)

    def end(self, status: str) -> Iterator[str]:
        """Yield the events that end the response."""
        if not self.record["output"] and not self.record["error"]:
            yield from self._begin_text()
        self._tell_loop()
        yield from self._close("completed" if status == "completed" else "incomplete")
        used = self.reply.usage.to_wire()
        self.record["usage"] = {
            "input_tokens": used["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": used["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used["total_tokens"],
        }
        self.record["status"] = status

    def _tell_loop(self) -> None:
        """Say that the reply was ended because it repeated itself."""
        loop = self.reply.repetition
        if loop is None:
            return
        self.record["repetition"] = loop.to_wire()
        if self._trims:
            [part] = self._open["content"]
            part["text"] = part["text"][: loop.kept_characters]
            part["logprobs"] = part["logprobs"][: loop.kept_tokens]

    def _close(self, status: str) -> Iterator[str]:
        """Yield the events that end the item that is open, if one is."""
        item, self._open = self._open, {}
        if not item:
            return
        item["status"] = status
        if item["type"] == "message":
            [part] = item["content"]
            told = {"text": part["text"], "logprobs": part["logprobs"]}
            yield self._tell("output_text.done", item, content_index=0, **told)
            yield self._tell("content_part.done", item, content_index=0, part=part)
        else:
            told = {"name": item["name"], "arguments": item["arguments"]}
            yield self._tell("function_call_arguments.done", item, **told)
        yield self.event("output_item.done", output_index=len(self.record["output"]) - 1, item=item)

    def _begin(self, item: Table) -> str:
        self._open = {**item, "status": "in_progress"}
        self.record["output"].append(self._open)
        return self.event("output_item.added", output_index=len(self.record["output"]) - 1, item=self._open)

    def _begin_text(self) -> Iterator[str]:
        if not self._open:
            message = {"type": "message", "role": "assistant", "content": []}
            yield self._begin({"id": f"msg_{secrets.token_hex(12)}", **message})
            part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            self._open["content"].append(part)
            yield self._tell("content_part.added", self._open, content_index=0, part=part)

    def _tell(self, kind: str, item: Table, **fields: Any) -> str:
        return self.event(kind, item_id=item["id"], output_index=len(self.record["output"]) - 1, **fields)
