"""``/v1/completions``: prompts as text or ids, several at once, with echo and log-probabilities."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from seedbed.inference.request import Event
from seedbed.inference.text import Piece
from seedbed.serve.context import Here, Job, provenance, sse, stream
from seedbed.serve.errors import refuse
from seedbed.serve.replies import finish_reason, finite, head_of, usage
from seedbed.serve.schemas.bodies import CompletionRequest, Prompts
from seedbed.tokenizers.streaming import StreamDecoder
from seedbed.tokenizers.tokenizer import Tokenizer

router = APIRouter()
Top = tuple[tuple[int, float], ...]


async def encode_prompts(encode: Callable[[str], list[int]], given: Prompts) -> list[list[int]]:
    """The ids of one prompt or several; ids are taken as they are."""
    several = [given] if isinstance(given, str) or isinstance(given[0], int) else given
    if len(several) > 128:
        raise refuse("too many prompts", why=f"{len(several)} are given, 128 are allowed", fix="send fewer at once")
    return [await asyncio.to_thread(encode, one) if isinstance(one, str) else list(one) for one in several]


@dataclass
class _Continuation:
    """One reply to one prompt, as it grows; ``table`` holds log-probabilities in OpenAI's older form."""

    tokenizer: Tokenizer
    prompt: list[int]
    text: str = ""
    finish: str | None = None
    written: int = 0
    table: dict[str, list[Any]] | None = None
    offset: int = 0

    def __post_init__(self) -> None:
        self._decoder = StreamDecoder(self.tokenizer)

    def add(self, piece: Piece, event: Event, body: CompletionRequest) -> tuple[str, dict[str, list[Any]] | None]:
        """Take the next piece. Returns what is new of text and table."""
        fresh, tokens = "", list[tuple[int, float | None, Top]]()
        if body.echo and not self.written:
            fresh, tops = self.tokenizer.decode(self.prompt), event.prompt_top or [()] * (len(self.prompt) - 1)
            tokens = list(zip(self.prompt, event.prompt_logprobs or [], [(), *tops], strict=False))
        if body.max_tokens:
            fresh, tokens = fresh + piece.text, [*tokens, (piece.token.id, piece.token.logprob, piece.token.top)]
        self.written, self.text = self.written + 1, self.text + fresh
        self.finish = piece.finish and finish_reason(piece.finish)
        if body.logprobs is None:
            return fresh, None
        new = self._table(tokens)
        self.table = self.table or {name: [] for name in new}
        for name, values in new.items():
            self.table[name] += values
        return fresh, new

    def _table(self, tokens: list[tuple[int, float | None, Top]]) -> dict[str, list[Any]]:
        names = self.tokenizer.pieces
        table: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token, logprob, top in tokens:
            [name] = names([token])
            logprob = None if logprob is None else finite(logprob)
            best = {names([one])[0]: finite(value) for one, value in top} | {name: logprob}
            row = (name, logprob, None if logprob is None else best, self.offset)
            for column, value in zip(table.values(), row, strict=True):
                column.append(value)
            self.offset += len(self._decoder.push(token))
        return table


@router.post("/v1/completions")
async def completions(body: CompletionRequest, context: Here) -> Response:
    """Continue prompts."""
    if body.max_tokens == 0 and not body.echo:
        raise refuse("max_tokens = 0", why="nothing would be written", fix="set it to 1 or more", param="max_tokens")
    served = await context.model(body.model)
    sampling = body.sampling(max(1, body.max_tokens), body.logprobs or 0)
    prompts = await encode_prompts(served.encode, body.prompt)
    echo = body.echo and body.logprobs is not None
    job = await context.start(served, body.salt(context.owner), prompts, sampling, body.n, echo)
    replies = [_Continuation(served.tokenizer, prompt) for prompt in prompts for _ in range(body.n)]
    head = {**head_of("cmpl", body, served), "object": "text_completion"}
    headers = provenance(served, sampling)
    if body.stream:
        return stream(_chunks(body, job, replies, head), headers)
    async for index, piece, event in job.pieces():
        replies[index].add(piece, event, body)
    choices = [_choice(index, one.text, one.table, one.finish) for index, one in enumerate(replies)]
    return JSONResponse({**head, "choices": choices, "usage": _usage(body, replies)}, headers=headers)


async def _chunks(
    body: CompletionRequest, job: Job, replies: list[_Continuation], head: dict[str, Any]
) -> AsyncIterator[str]:
    async for index, piece, event in job.pieces():
        fresh, table = replies[index].add(piece, event, body)
        if fresh or table or piece.finish:
            yield sse({**head, "choices": [_choice(index, fresh, table, replies[index].finish)]})
    if body.stream_options and body.stream_options.include_usage:
        yield sse({**head, "choices": [], "usage": _usage(body, replies)})


def _choice(index: int, text: str, table: dict[str, list[Any]] | None, finish: str | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": table, "finish_reason": finish}


def _usage(body: CompletionRequest, replies: list[_Continuation]) -> dict[str, int]:
    read = sum(len(one.prompt) for one in replies[:: body.n])
    return usage(read, sum(one.written for one in replies) if body.max_tokens else 0)
