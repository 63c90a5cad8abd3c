"""``/v1/chat/completions``: a conversation answered, or its last question from documents, with its sources.

From documents, the chain runs in a thread of its own and asks the model through the shared engine, beside other
requests. The answer comes when it is whole, streamed or not: only then is it known whether the documents tell. Earlier
turns are not read: a question must say what it is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from seedbed.chat.local import LocalModel
from seedbed.chat.model import ReplyOptions
from seedbed.rag.answer import Answer, ask
from seedbed.serve.bodies import ChatRequest, DocumentOptions
from seedbed.serve.context import ENDED, Here, Job, RequestContext, Server, provenance, stream
from seedbed.serve.from_wire import chat_limit, chat_task, question_of
from seedbed.serve.to_wire import Table, chat_choice, chat_delta, head_of, sse, usage_of

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, context: Here) -> Response:
    """Answer a conversation, or its last question from documents."""
    limit = chat_limit(body)
    if body.documents:
        return await _from_documents(body, body.documents, limit, context)
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


async def _from_documents(
    body: ChatRequest, wanted: DocumentOptions, limit: int | None, context: RequestContext
) -> Response:
    """Answer a chat completion from the collection that it names."""
    question = question_of(body)
    served = await context.model(body.model)
    sampling = body.sampling(limit or served.window, 0)
    head = head_of("chatcmpl", body, served.fingerprint)
    headers = provenance(served, sampling)
    client = served.client(body.salt(context.owner), context.server.settings.request_seconds)
    context.stack.callback(client.end, ENDED)
    model = LocalModel(served.loaded, client, name=body.model, sampling=sampling)
    options: ReplyOptions = {"temperature": sampling.temperature} if "temperature" in body.model_fields_set else {}
    if limit is not None:
        options["max_tokens"] = limit
    answering = partial(_answer, question, wanted, model, options, context.server)
    if body.stream:
        return stream(_document_chunks(body, answering, head), headers)
    answer = await answering()
    message = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": _annotations(answer)}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}
    told = {"choices": [choice], "usage": answer.usage.to_wire(), "documents": answer.to_json()}
    return JSONResponse({**head, "object": "chat.completion", **told}, headers=headers)


async def _answer(
    question: str, wanted: DocumentOptions, model: LocalModel, options: ReplyOptions, server: Server
) -> Answer:
    """Find passages and run the chain, in a thread of its own."""

    def work() -> Answer:
        collection = server.collections.open(wanted.collection)
        search = partial(collection.search, mode=wanted.mode, where=wanted.where)
        return ask(
            question,
            search,
            model,
            chain=wanted.chain,
            k=wanted.k,
            evidence=wanted.evidence,
            embedder=collection.sentence_embedder,
            **options,
        )

    answer = await asyncio.to_thread(work)
    server.metrics.prompt_tokens += answer.usage.prompt_tokens
    server.metrics.generated_tokens += answer.usage.completion_tokens
    return answer


async def _document_chunks(
    body: ChatRequest, answering: Callable[[], Awaitable[Answer]], head: Table
) -> AsyncIterator[str]:
    def chunk(delta: Table, finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return sse({**head, "object": "chat.completion.chunk", "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    answer = await answering()
    yield chunk({"content": answer.text})
    yield chunk({"annotations": _annotations(answer)}, "stop", documents=answer.to_json())
    if body.stream_options and body.stream_options.include_usage:
        yield sse({**head, "object": "chat.completion.chunk", "choices": [], "usage": answer.usage.to_wire()})


def _annotations(answer: Answer) -> list[dict[str, Any]]:
    """Write citations in OpenAI's form, whose only kind here is of an address."""
    places = (
        {"start_index": one.start, "end_index": one.end, "title": one.heading or one.source, "url": one.source}
        for one in answer.citations
    )
    return [{"type": "url_citation", "url_citation": place} for place in places]
