"""``/v1/responses``: conversations as lists of items, stored where the client wants it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from seedbed.chat.messages import Delta
from seedbed.chat.reply_builder import ReplyBuilder
from seedbed.core.errors import SeedbedError
from seedbed.inference.engine_client import EngineClient
from seedbed.serve.context import Here, Job, RequestContext, provenance, stream
from seedbed.serve.documents import DocumentJob, document_job, url_citations
from seedbed.serve.errors import ApiError, error_body, refuse
from seedbed.serve.from_wire import refuse_beside_documents, response_messages, response_task
from seedbed.serve.json_body import JsonRoute
from seedbed.serve.response_bodies import ItemsQuery, ResponseRequest
from seedbed.serve.response_store import StoredResponse
from seedbed.serve.to_wire import ResponseWriter, Table, response_record

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/responses")
async def create_response(body: ResponseRequest, context: Here) -> Response:
    """Answer a conversation, and keep the answer unless told not to."""
    if body.top_logprobs and not body.include:
        fix = "include message.output_text.logprobs"
        raise refuse("top_logprobs without logprobs", why="they are asked for together", fix=fix, param="top_logprobs")
    items = [*await _before(body, context), *_items(body)]
    if body.documents:
        return await _from_documents(body, items, context)
    served = await context.model(body.model)
    task = await context.work(response_task, body, items, context.owner, served.window, served.stated)
    job = await context.answer(served, task)
    record = response_record(body, task.sampling) | ({"unenforced": task.unenforced} if task.unenforced else {})
    writer = ResponseWriter(record, job.replies[0], trims=not body.stream)
    lines = _write(job.client, _reply_lines(job, writer), writer, items, context)
    return await _sent(body, writer, lines, provenance(served, task.sampling))


async def _from_documents(body: ResponseRequest, items: list[Table], context: RequestContext) -> Response:
    """Answer the last item from the collection that the body names."""
    messages = response_messages(body, items)
    refuse_beside_documents(body, messages)
    job = await document_job(body, messages, body.max_output_tokens, context)
    record = response_record(body, job.sampling)
    writer = ResponseWriter(record, ReplyBuilder(job.served.tokenizer), trims=not body.stream)
    lines = _write(job.client, _document_lines(job, writer), writer, items, context)
    return await _sent(body, writer, lines, job.headers)


async def _sent(
    body: ResponseRequest, writer: ResponseWriter, lines: AsyncIterator[str], headers: dict[str, str]
) -> Response:
    """Send a response as it is written, or when it is whole."""
    if body.stream:
        return stream(lines, headers)
    async for _ in lines:
        pass
    if writer.failure and writer.record["status"] == "failed":
        raise writer.failure
    return JSONResponse(writer.record, headers=headers)


@router.get("/v1/responses/{identity}")
async def get_response(identity: str, context: Here) -> Response:
    """Return a stored response."""
    return JSONResponse((await _stored(identity, context)).body)


@router.delete("/v1/responses/{identity}")
async def delete_response(identity: str, context: Here) -> Response:
    """Delete a stored response."""
    if not await context.look_up(context.server.store.delete, context.owner, identity):
        raise _unknown(identity)
    return JSONResponse({"id": identity, "object": "response", "deleted": True})


@router.get("/v1/responses/{identity}/input_items")
async def input_items(identity: str, query: Annotated[ItemsQuery, Query()], context: Here) -> Response:
    """Return the items that a stored response answers, the newest first."""
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
    client, writer, done = writing
    client.end(ApiError(409, "cancelled", why="its owner asked for it", fix="ask again", code="cancelled"))
    await done.wait()
    return JSONResponse(writer.record)


async def _stored(identity: str, context: RequestContext, param: str | None = None) -> StoredResponse:
    found = await context.look_up(context.server.store.get, context.owner, identity)
    if found is None:
        raise _unknown(identity, param)
    return found


def _unknown(identity: str, param: str | None = None) -> ApiError:
    why = "it was deleted, is too old, was not stored, or belongs to another key"
    what, fix = f"no response {identity[:100]!r}", "send the whole conversation"
    return ApiError(404, what, why=why, fix=fix, code="not_found", param=param)


async def _before(body: ResponseRequest, context: RequestContext) -> list[Table]:
    """Read the conversation that a request goes on with."""
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


async def _reply_lines(job: Job, writer: ResponseWriter) -> AsyncIterator[str]:
    """Yield the events of a model's reply."""
    async for _, delta, _ in job.deltas():
        for line in writer.add(delta):
            yield line


async def _document_lines(job: DocumentJob, writer: ResponseWriter) -> AsyncIterator[str]:
    """Yield the events of an answer from documents: two kinds of our own tell of the sources and of the draft."""
    async for fresh, part in job.deltas():
        if part.found:
            yield writer.event("documents.found", documents=part.found.to_json())
        if part.draft:
            yield writer.event("documents.draft", delta=part.draft)
        for line in writer.add(Delta(fresh)):
            yield line
        if part.answer:
            used = part.answer.usage
            writer.reply.prompt_tokens, writer.reply.written = used.prompt_tokens, used.completion_tokens
            writer.reply.finish = part.answer.finish
            writer.record.update(job.loop, documents=part.answer.to_json())
            for line in writer.annotate([{"type": "url_citation", **place} for place in url_citations(part.answer)]):
                yield line


async def _write(
    client: EngineClient, parts: AsyncIterator[str], writer: ResponseWriter, items: list[Table], context: RequestContext
) -> AsyncIterator[str]:
    """Yield the events of a response to ``items``, which is stored before the last of them."""
    record, done = writer.record, asyncio.Event()
    mine = context.owner, record["id"]
    context.server.running[mine] = client, writer, done
    context.stack.callback(context.server.running.pop, mine, None)
    context.stack.callback(done.set)
    yield writer.event("created", response=record)
    yield writer.event("in_progress", response=record)
    status = "completed"
    try:
        async for line in parts:
            yield line
    except SeedbedError as error:
        writer.failure = error
        status = "cancelled" if isinstance(error, ApiError) and error.code == "cancelled" else "failed"
        record["error"] = {"code": "server_error", "message": error_body(error)[1]["error"]["message"]}
    else:
        if writer.reply.finish == "length":
            status, record["incomplete_details"] = "incomplete", {"reason": "max_output_tokens"}
    for line in writer.end(status):
        yield line
    if record["store"]:
        await context.look_up(context.server.store.put, context.owner, StoredResponse(record, items))
    yield writer.event("failed" if writer.failure else status, response=record)
