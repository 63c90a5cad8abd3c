"""``/v1/chat/completions``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from seedbed.serve.context import Here, Job, provenance, sse, stream
from seedbed.serve.documents import complete_from_documents
from seedbed.serve.errors import refuse
from seedbed.serve.replies import Part, Reply, encode, grammar_of, head_of, plain_messages, toolbox_of, usage
from seedbed.serve.schemas.bodies import ChatRequest
from seedbed.tokenizers.tools import CallReader

router = APIRouter()


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, context: Here) -> Response:
    """Answer a conversation, or its last question from documents."""
    limit, toolbox = _check(body), toolbox_of([tool.function for tool in body.tools], body.tool_choice)
    if body.documents:
        return await complete_from_documents(body, limit, context)
    served = await context.model(body.model)
    wanted = body.response_format
    grammar = grammar_of(wanted.type, wanted.json_schema, toolbox)
    sampling = body.sampling(limit or served.window, body.top_logprobs, grammar)
    prompt = await encode(served, plain_messages(body.messages), toolbox)
    job = await context.start(served, body.salt(context.owner), [prompt], sampling, body.n)
    replies = [Reply(served.tokenizer, CallReader() if toolbox else None, body.logprobs) for _ in range(body.n)]
    head = {**head_of("chatcmpl", body, served), "metadata": body.metadata, "service_tier": "default"}
    headers = provenance(served, sampling)
    if body.stream:
        return stream(_chunks(body, job, replies, head, len(prompt)), headers)
    async for index, piece, _ in job.pieces():
        replies[index].add(piece)
    choices = [_choice(index, reply, body.logprobs) for index, reply in enumerate(replies)]
    counted = usage(len(prompt), sum(reply.tokens for reply in replies))
    return JSONResponse({**head, "object": "chat.completion", "choices": choices, "usage": counted}, headers=headers)


def _check(body: ChatRequest) -> int | None:
    """Fields against each other. Returns the limit of tokens."""
    limit, newer = body.max_tokens, body.max_completion_tokens
    if limit and newer and limit != newer:
        raise refuse("two limits", why="max_tokens is the old name", fix="keep the other", param="max_tokens")
    if body.top_logprobs and not body.logprobs:
        raise refuse("top_logprobs without logprobs", why="they go together", fix="set logprobs", param="logprobs")
    if (body.response_format.type == "json_schema") != bool(body.response_format.json_schema):
        raise refuse("a json_schema that does not fit its type", why="type and schema belong together", fix="give both")
    return newer or limit


def _choice(index: int, reply: Reply, logprobs: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.content, "refusal": None}
    if reply.name:
        function = {"name": reply.name, "arguments": reply.arguments}
        message["content"] = reply.content or None
        message["tool_calls"] = [{"id": reply.call_id, "type": "function", "function": function}]
    found = {"content": reply.logprobs, "refusal": None} if logprobs else None
    return {"index": index, "message": message, "logprobs": found, "finish_reason": reply.finish}


async def _chunks(
    body: ChatRequest, job: Job, replies: list[Reply], head: dict[str, Any], prompt: int
) -> AsyncIterator[str]:
    counted = bool(body.stream_options and body.stream_options.include_usage)
    head = {**head, "object": "chat.completion.chunk", **({"usage": None} if counted else {})}

    def chunk(index: int, delta: dict[str, Any], finish: str | None, logprobs: list[dict[str, Any]]) -> str:
        found = {"content": logprobs, "refusal": None} if body.logprobs and logprobs else None
        choice = {"index": index, "delta": delta, "logprobs": found, "finish_reason": finish}
        return sse({**head, "choices": [choice]})

    for index in range(body.n):
        yield chunk(index, {"role": "assistant", "content": ""}, None, [])
    async for index, piece, _ in job.pieces():
        reply = replies[index]
        part = reply.add(piece)
        delta = _delta(part, reply)
        if delta or reply.finish or body.logprobs:
            yield chunk(index, delta, reply.finish, part.logprobs)
    if counted:
        yield sse({**head, "choices": [], "usage": usage(prompt, sum(reply.tokens for reply in replies))})


def _delta(part: Part, reply: Reply) -> dict[str, Any]:
    delta: dict[str, Any] = {"content": part.content} if part.content else {}
    if part.call:
        function = {"name": part.call, "arguments": part.arguments}
        delta["tool_calls"] = [{"index": 0, "id": reply.call_id, "type": "function", "function": function}]
    elif part.arguments:
        delta["tool_calls"] = [{"index": 0, "function": {"arguments": part.arguments}}]
    return delta
