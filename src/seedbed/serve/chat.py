"""``/v1/chat/completions``."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from seedbed.serve.context import Here, Job, provenance, stream
from seedbed.serve.documents import complete_from_documents
from seedbed.serve.from_wire import chat_limit, chat_task
from seedbed.serve.schemas.bodies import ChatRequest
from seedbed.serve.to_wire import Table, chat_choice, chat_delta, head_of, sse, usage_of

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, context: Here) -> Response:
    """Answer a conversation, or its last question from documents."""
    limit = chat_limit(body)
    if body.documents:
        return await complete_from_documents(body, limit, context)
    served = await context.model(body.model)
    task = chat_task(body, context.owner, served.window)
    job = await context.answer(served, task)
    more = {"metadata": body.metadata, "service_tier": "default"}
    head, headers = {**head_of("chatcmpl", body, served.fingerprint), **more}, provenance(served, task.sampling)
    if body.stream:
        return stream(_chunks(body, job, head), headers)
    async for _ in job.deltas():
        pass
    told = {"choices": [chat_choice(*one) for one in enumerate(job.replies)], "usage": usage_of(job.replies).to_wire()}
    return JSONResponse({**head, "object": "chat.completion", **told}, headers=headers)


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
