"""Chat completions with a collection attached: the last question is answered from documents, with its sources.

The chain runs in a thread of its own and asks the model through the shared engine, beside other requests. The answer
comes when it is whole, streamed or not: only then is it known whether the documents tell. Earlier turns are not read:
a question must say what it is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any

from starlette.responses import JSONResponse, Response

from seedbed.chat.local import LocalModel
from seedbed.chat.model import ReplyOptions
from seedbed.inference.engine_client import EngineClient
from seedbed.inference.parameters import Sampling
from seedbed.rag.answer import Answer, ask
from seedbed.serve.context import ENDED, RequestContext, provenance, stream
from seedbed.serve.from_wire import question_of
from seedbed.serve.pool import Served
from seedbed.serve.schemas.bodies import ChatRequest, DocumentOptions
from seedbed.serve.to_wire import head_of, sse


async def complete_from_documents(body: ChatRequest, limit: int | None, context: RequestContext) -> Response:
    """Answer a chat completion whose ``documents`` name a collection."""
    assert body.documents is not None  # asked of nobody else
    question = question_of(body)
    served = await context.model(body.model)
    sampling = body.sampling(limit or served.window, 0)
    head = head_of("chatcmpl", body, served.fingerprint)
    headers = provenance(served, sampling)
    work = _answering(body, body.documents, question, limit, sampling, context, served)
    if body.stream:
        return stream(_chunks(body, work, context, head), headers)
    answer = await _run(work, context)
    message = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": _annotations(answer)}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": None, "message": message}
    told = {"choices": [choice], "usage": answer.usage.to_wire(), "documents": answer.to_json()}
    return JSONResponse({**head, "object": "chat.completion", **told}, headers=headers)


def _answering(
    body: ChatRequest,
    wanted: DocumentOptions,
    question: str,
    limit: int | None,
    sampling: Sampling,
    context: RequestContext,
    served: Served,
) -> Callable[[], Answer]:
    """Return the work of a thread: find passages and run the chain. It ends with the request."""
    seconds = context.server.settings.request_seconds
    client = EngineClient(served.engine, salt=body.salt(context.owner), seconds=seconds)
    context.stack.callback(client.end, ENDED)
    model = LocalModel(served.loaded, client, name=body.model, sampling=sampling)
    options: ReplyOptions = {"temperature": sampling.temperature} if "temperature" in body.model_fields_set else {}
    if limit is not None:
        options["max_tokens"] = limit

    def work() -> Answer:
        collection = context.server.collections.open(wanted.collection)
        search = partial(collection.search, mode=wanted.mode, where=wanted.where)
        return ask(question, search, model, chain=wanted.chain, k=wanted.k, evidence=wanted.evidence, **options)

    return work


async def _run(work: Callable[[], Answer], context: RequestContext) -> Answer:
    answer = await asyncio.to_thread(work)
    context.server.metrics.prompt_tokens += answer.usage.prompt_tokens
    context.server.metrics.generated_tokens += answer.usage.completion_tokens
    return answer


async def _chunks(
    body: ChatRequest, work: Callable[[], Answer], context: RequestContext, head: Mapping[str, Any]
) -> AsyncIterator[str]:
    def chunk(delta: Mapping[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return sse({**head, "object": "chat.completion.chunk", "choices": [choice], **more})

    yield chunk({"role": "assistant", "content": ""})
    answer = await _run(work, context)
    yield chunk({"content": answer.text})
    yield chunk({"annotations": _annotations(answer)}, "stop", documents=answer.to_json())
    if body.stream_options and body.stream_options.include_usage:
        yield sse({**head, "object": "chat.completion.chunk", "choices": [], "usage": answer.usage.to_wire()})


def _annotations(answer: Answer) -> list[dict[str, Any]]:
    """Write citations in OpenAI's form, whose only kind here is of an address."""
    return [
        {
            "type": "url_citation",
            "url_citation": {
                "start_index": one.start,
                "end_index": one.end,
                "title": one.heading or one.source,
                "url": one.source,
            },
        }
        for one in answer.citations
    ]
