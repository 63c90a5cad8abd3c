"""``/v1/chat/completions``: a conversation answered, or its last question from documents, with its sources."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from seedbed.rag.record import Answer
from seedbed.serve.bodies import ChatRequest
from seedbed.serve.context import Here, Job, RequestContext, provenance, stream
from seedbed.serve.documents import DocumentJob, document_job, url_citations
from seedbed.serve.from_wire import chat_limit, chat_task, messages_of, refuse_beside_documents
from seedbed.serve.json_body import JsonRoute
from seedbed.serve.pool import Served
from seedbed.serve.to_wire import Table, chat_choice, chat_delta, head_of, sse, usage_of

router = APIRouter(route_class=JsonRoute)


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, context: Here) -> Response:
    """Answer a conversation, or its last question from documents."""
    limit = chat_limit(body)
    if body.documents:
        return await _from_documents(body, limit, context)
    served = await context.model(body.model)
    task = await context.work(chat_task, body, context.owner, served.window, served.stated)
    job = await context.answer(served, task)
    head, headers = _head(body, served, task.unenforced), provenance(served, task.sampling)
    if body.stream:
        return stream(_chunks(body, job, head), headers)
    async for _ in job.deltas():
        pass
    for reply in job.replies:
        reply.trim()
    told = {"choices": [chat_choice(*one) for one in enumerate(job.replies)], "usage": usage_of(job.replies).to_wire()}
    return JSONResponse({**head, "object": "chat.completion", **told}, headers=headers)


def _head(body: ChatRequest, served: Served, unenforced: Sequence[str] = ()) -> Table:
    more = {"metadata": body.metadata, "service_tier": "default"} | ({"unenforced": unenforced} if unenforced else {})
    return {**head_of("chatcmpl", body, served.fingerprint), **more}


async def _chunks(body: ChatRequest, job: Job, head: Table) -> AsyncIterator[str]:
    counted = bool(body.stream_options and body.stream_options.include_usage)
    head = {**head, "object": "chat.completion.chunk", **({"usage": None} if counted else {})}
    for index in range(body.n):
        delta = {"role": "assistant", "content": ""}
        yield sse({**head, "choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]})
    async for index, part, _ in job.deltas():
        if choice := chat_delta(index, job.replies[index], part):
            yield sse({**head, "choices": [choice]})
    if counted:
        yield sse({**head, "choices": [], "usage": usage_of(job.replies).to_wire()})


async def _from_documents(body: ChatRequest, limit: int | None, context: RequestContext) -> Response:
    """Answer a chat completion from the collection that it names."""
    messages = messages_of(body.messages)
    refuse_beside_documents(body, messages)
    job = await document_job(body, messages, limit, context)
    head = _head(body, job.served)
    if body.stream:
        return stream(_document_chunks(body, job, head), job.headers)
    async for _ in job.deltas():
        pass
    assert job.answer is not None  # of the last part
    message = {"role": "assistant", "content": job.sent, "refusal": None, "annotations": _annotations(job.answer)}
    choice = {"index": 0, "finish_reason": job.answer.finish, "logprobs": None, "message": message, **job.loop}
    told = {"choices": [choice], "usage": job.answer.usage.to_wire(), "documents": job.answer.to_json()}
    return JSONResponse({**head, "object": "chat.completion", **told}, headers=job.headers)


async def _document_chunks(body: ChatRequest, job: DocumentJob, head: Table) -> AsyncIterator[str]:
    def chunk(delta: Table, finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None, **(job.loop if finish else {})}
        return sse({**head, "object": "chat.completion.chunk", "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    async for fresh, part in job.deltas():
        if part.found:
            yield chunk({}, documents=part.found.to_json())
        if part.draft:
            yield chunk({"draft": part.draft})
        if fresh:
            yield chunk({"content": fresh})
        if part.answer:
            yield chunk({"annotations": _annotations(part.answer)}, part.answer.finish, documents=part.answer.to_json())
    if body.stream_options and body.stream_options.include_usage and job.answer:
        usage = job.answer.usage.to_wire()
        yield sse({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage})


def _annotations(answer: Answer) -> list[Table]:
    return [{"type": "url_citation", "url_citation": place} for place in url_citations(answer)]
