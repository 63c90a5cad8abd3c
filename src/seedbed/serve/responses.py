"""``/v1/responses``: conversations as lists of items, stored where the client wants it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from seedbed.core.errors import SeedbedError
from seedbed.serve.context import Here, Job, RequestContext, provenance, sse, stream
from seedbed.serve.errors import ApiError, error_body, refuse
from seedbed.serve.replies import Part, Reply, encode, grammar_of, plain_messages, toolbox_of, usage
from seedbed.serve.response_store import StoredResponse
from seedbed.serve.schemas.bodies import ChatMessage, ItemsQuery, ResponseRequest
from seedbed.tokenizers.tools import CallReader

router = APIRouter()
Table = dict[str, Any]


@router.post("/v1/responses")
async def create_response(body: ResponseRequest, context: Here) -> Response:
    """Answer a conversation, and keep the answer unless told not to."""
    toolbox = toolbox_of(body.tools, body.tool_choice)
    if body.top_logprobs and not body.include:
        fix = "include message.output_text.logprobs"
        raise refuse("top_logprobs without logprobs", why="they are asked for together", fix=fix, param="top_logprobs")
    items = [*await _before(body, context), *_items(body)]
    served = await context.model(body.model)
    form = body.text.format
    limit = body.max_output_tokens or served.window
    sampling = body.sampling(limit, body.top_logprobs, grammar_of(form.type, form, toolbox))
    told = [{"role": "system", "content": body.instructions}] if body.instructions else []
    room = limit if body.truncation == "auto" else None
    prompt = await encode(served, [*told, *plain_messages(_messages(items))], toolbox, room)
    job = await context.start(served, body.salt(context.owner), [prompt], sampling, 1)
    reply = Reply(served.tokenizer, CallReader() if toolbox else None, bool(body.include))
    writer = _Writer(_record(body), reply)
    lines, headers = _write(writer, job, context, items, len(prompt)), provenance(served, sampling)
    if body.stream:
        return stream(lines, headers)
    async for _ in lines:
        pass
    if writer.error and writer.record["status"] == "failed":
        raise writer.error
    return JSONResponse(writer.record, headers=headers)


@router.get("/v1/responses/{identity}")
async def get_response(identity: str, context: Here) -> Response:
    """A stored response."""
    return JSONResponse((await _stored(identity, context)).body)


@router.delete("/v1/responses/{identity}")
async def delete_response(identity: str, context: Here) -> Response:
    """Delete a stored response."""
    if not await asyncio.to_thread(context.server.store.delete, context.owner, identity):
        raise _unknown(identity)
    return JSONResponse({"id": identity, "object": "response", "deleted": True})


@router.get("/v1/responses/{identity}/input_items")
async def input_items(identity: str, query: Annotated[ItemsQuery, Query()], context: Here) -> Response:
    """The items that a stored response answers, the newest first."""
    items = (await _stored(identity, context)).items
    items = items if query.order == "asc" else items[::-1]
    places = [place for place, item in enumerate(items, 1) if item["id"] == query.after]
    if query.after and not places:
        raise refuse(f"no item {query.after!r}", why="the response has none such", fix="leave out after", param="after")
    rest = items[places[0] if places else 0 :]
    page = rest[: query.limit]
    ends = {"first_id": page[0]["id"] if page else "", "last_id": page[-1]["id"] if page else ""}
    return JSONResponse({"object": "list", "data": page, "has_more": len(rest) > len(page), **ends})


@router.post("/v1/responses/{identity}/cancel")
async def cancel_response(identity: str, context: Here) -> Response:
    """Stop a response that is being written by another request of the same key."""
    writing = context.server.running.get((context.owner, identity))
    if writing is None:
        stored = await _stored(identity, context)
        raise refuse(f"{identity} is {stored.body['status']}", why="it is not being written", fix="nothing is needed")
    job, writer = writing
    job.fail(ApiError(409, "cancelled", why="its owner asked for it", fix="ask again", code="cancelled"))
    await writer.done.wait()
    return JSONResponse(writer.record)


async def _stored(identity: str, context: RequestContext, param: str | None = None) -> StoredResponse:
    found = await asyncio.to_thread(context.server.store.get, context.owner, identity)
    if found is None:
        raise _unknown(identity, param)
    return found


def _unknown(identity: str, param: str | None = None) -> ApiError:
    why = "it was deleted, is too old, was not stored, or belongs to another key"
    what, fix = f"no response {identity[:100]!r}", "send the whole conversation"
    return ApiError(404, what, why=why, fix=fix, code="not_found", param=param)


async def _before(body: ResponseRequest, context: RequestContext) -> list[Table]:
    """The conversation that a request goes on with."""
    if body.previous_response_id is None:
        return []
    stored = await _stored(body.previous_response_id, context, "previous_response_id")
    return [*stored.items, *stored.body["output"]]


def _items(body: ResponseRequest) -> list[Table]:
    if isinstance(body.input, str):
        content = [{"type": "input_text", "text": body.input}]
        given = [{"type": "message", "role": "user", "content": content, "status": "completed"}]
    else:
        given = [item.model_dump(exclude_none=True) for item in body.input]
    if not given:
        raise refuse("input is empty", why="there is nothing to answer", fix="give a text or items", param="input")
    return [{"id": f"item_{secrets.token_hex(12)}", **item} for item in given]


def _messages(items: list[Table]) -> list[ChatMessage]:
    """Items as chat messages; a call belongs to the assistant's message before it."""
    found: list[ChatMessage] = []
    for item in items:
        if item["type"] == "message":
            found.append(ChatMessage(role=item["role"], content=item["content"]))
        elif item["type"] == "function_call":
            function = {"name": item["name"], "arguments": item["arguments"]}
            before = (
                found.pop().content if found and found[-1].role == "assistant" and not found[-1].tool_calls else None
            )
            calls = [{"id": item["call_id"], "function": function}]
            found.append(ChatMessage.model_validate({"role": "assistant", "content": before, "tool_calls": calls}))
        else:
            found.append(ChatMessage(role="tool", tool_call_id=item["call_id"], content=item["output"]))
    return found


def _record(body: ResponseRequest) -> Table:
    same = ("instructions", "metadata", "model", "previous_response_id", "temperature", "top_p", "max_output_tokens")
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
        "parallel_tool_calls": True,
        "service_tier": "default",
        "tool_choice": dumped["tool_choice"] or "auto",
        "usage": None,
        "text": {"format": body.text.format.model_dump(by_alias=True, exclude_unset=True)},
        **{name: dumped[name] for name in (*same, "store", "tools", "top_logprobs", "truncation")},
    }


class _Writer:
    """Turns the parts of a reply into a response's output and the events that tell of it."""

    def __init__(self, record: Table, reply: Reply) -> None:
        self.record, self.reply, self.done = record, reply, asyncio.Event()
        self.error: SeedbedError | None = None
        self._number, self._open = 0, Table()

    def event(self, kind: str, **fields: Any) -> str:
        """One event of a stream."""
        self._number += 1
        return sse({"type": f"response.{kind}", "sequence_number": self._number - 1, **fields}, f"response.{kind}")

    def add(self, part: Part) -> Iterator[str]:
        """Events of one part."""
        logprobs = [] if self.reply.name else part.logprobs
        if part.content or logprobs:
            yield from self._begin_text()
            [text] = self._open["content"]
            text["text"] += part.content
            text["logprobs"] += logprobs
            yield self._tell("output_text.delta", self._open, content_index=0, delta=part.content, logprobs=logprobs)
        if part.call:
            yield from self.close("completed")
            call = {"call_id": self.reply.call_id, "name": part.call, "arguments": ""}
            yield self._begin({"type": "function_call", "id": f"fc_{secrets.token_hex(12)}", **call})
        if part.arguments:
            self._open["arguments"] += part.arguments
            yield self._tell("function_call_arguments.delta", self._open, delta=part.arguments)

    def end(self, status: str, prompt: int) -> Iterator[str]:
        """Events that end the response."""
        if not self.record["output"] and not self.error:
            yield from self._begin_text()
        yield from self.close("completed" if status == "completed" else "incomplete")
        used = usage(prompt, self.reply.tokens)
        self.record["usage"] = {
            "input_tokens": used["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": used["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": used["total_tokens"],
        }
        self.record["status"] = status

    def close(self, status: str) -> Iterator[str]:
        """Events that end the item that is open, if one is."""
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


async def _write(
    writer: _Writer, job: Job, context: RequestContext, items: list[Table], prompt: int
) -> AsyncIterator[str]:
    """The events of a response, which is stored before the last of them."""
    record, mine = writer.record, (context.owner, writer.record["id"])
    context.server.running[mine] = job, writer
    context.stack.callback(context.server.running.pop, mine, None)
    context.stack.callback(writer.done.set)
    yield writer.event("created", response=record)
    yield writer.event("in_progress", response=record)
    status = "completed"
    try:
        async for _, piece, _ in job.pieces():
            for line in writer.add(writer.reply.add(piece)):
                yield line
    except SeedbedError as error:
        writer.error = error
        status = "cancelled" if isinstance(error, ApiError) and error.code == "cancelled" else "failed"
        record["error"] = {"code": "server_error", "message": error_body(error)[1]["error"]["message"]}
    else:
        if writer.reply.finish == "length":
            status, record["incomplete_details"] = "incomplete", {"reason": "max_output_tokens"}
    for line in writer.end(status, prompt):
        yield line
    if record["store"]:
        await asyncio.to_thread(context.server.store.put, context.owner, StoredResponse(record, items))
    yield writer.event("failed" if writer.error else status, response=record)
