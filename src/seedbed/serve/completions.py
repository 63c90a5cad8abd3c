"""``/v1/completions``: prompts as text or ids, several at once, with echo and log-probabilities."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from seedbed.chat.messages import Usage
from seedbed.chat.reply_builder import ReplyBuilder
from seedbed.serve.bodies import CompletionRequest, Prompts
from seedbed.serve.context import Here, Job, RequestContext, provenance, stream
from seedbed.serve.errors import refuse
from seedbed.serve.json_body import JsonRoute
from seedbed.serve.to_wire import CompletionWriter, Table, head_of, sse

router = APIRouter(route_class=JsonRoute)


async def encode_prompts(
    context: RequestContext, encode: Callable[[str], list[int]], given: Prompts
) -> list[list[int]]:
    """Return the ids of one prompt or several; ids are taken as they are."""
    several = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    if len(several) > 128:
        raise refuse("too many prompts", why=f"{len(several)} are given, 128 are allowed", fix="send fewer at once")
    context.check_length(*(one for one in several if isinstance(one, str)))
    return [await context.work(encode, one) if isinstance(one, str) else list(one) for one in several]


@router.post("/v1/completions")
async def completions(body: CompletionRequest, context: Here) -> Response:
    """Continue prompts."""
    if body.max_tokens == 0 and not body.echo:
        raise refuse("max_tokens = 0", why="nothing would be written", fix="set it to 1 or more", param="max_tokens")
    served = await context.model(body.model)
    sampling = body.sampling(max(1, body.max_tokens), body.logprobs or 0)
    prompts = await encode_prompts(context, served.encode, body.prompt)
    asked = [prompt for prompt in prompts for _ in range(body.n)]
    builders = [
        ReplyBuilder(served.tokenizer, sampling.stop, prompt_tokens=len(prompt), continues=prompt) for prompt in asked
    ]
    echo = body.echo and body.logprobs is not None
    job = await context.start(served, body.salt(context.owner), prompts, sampling, builders, echo)
    writers = [CompletionWriter(index, body, asked[index], one) for index, one in enumerate(builders)]
    head = {**head_of("cmpl", body, served.fingerprint), "object": "text_completion"}
    headers = provenance(served, sampling)
    if body.stream:
        return stream(_chunks(body, job, writers, head), headers)
    async for index, delta, event in job.deltas():
        writers[index].add(delta, event)
    choices = [one.choice() for one in writers]
    return JSONResponse({**head, "choices": choices, "usage": _usage(body, job)}, headers=headers)


async def _chunks(
    body: CompletionRequest, job: Job, writers: list[CompletionWriter], head: Table
) -> AsyncIterator[str]:
    async for index, delta, event in job.deltas():
        if choice := writers[index].add(delta, event):
            yield sse({**head, "choices": [choice]})
    if body.stream_options and body.stream_options.include_usage:
        yield sse({**head, "choices": [], "usage": _usage(body, job)})


def _usage(body: CompletionRequest, job: Job) -> dict[str, int]:
    read = sum(one.prompt_tokens for one in job.replies[:: body.n])
    return Usage(read, sum(one.written for one in job.replies) if body.max_tokens else 0).to_wire()
