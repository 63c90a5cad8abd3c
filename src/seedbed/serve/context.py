"""What a server holds, what one request holds, and the bridge between the engine's thread and the event loop."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any

from fastapi import Depends
from fastapi.responses import StreamingResponse
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from seedbed.core.errors import SeedbedError
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Event, Request
from seedbed.inference.stops import StopScanner
from seedbed.inference.text import Piece
from seedbed.serve.auth import Keys
from seedbed.serve.collection_cache import Shelf
from seedbed.serve.errors import ApiError, error_body, refuse
from seedbed.serve.metrics import Metrics
from seedbed.serve.pool import ModelPool, Ready, Served, ServedEncoder
from seedbed.serve.response_store import ResponseStore
from seedbed.serve.settings import ServeSettings
from seedbed.tokenizers.streaming import StreamDecoder


@dataclass
class Server:
    """What all requests share. Without ``keys``, whoever reaches the server may use it."""

    settings: ServeSettings
    keys: Keys | None
    pool: ModelPool
    store: ResponseStore
    shelf: Shelf
    metrics: Metrics = field(default_factory=Metrics)
    instance: str = field(default_factory=partial(secrets.token_hex, 8))
    draining: bool = False
    running: dict[tuple[str, str], tuple[Job, Any]] = field(default_factory=dict)
    """Responses that are being written, by owner and id, with what writes them."""


@dataclass
class RequestContext:
    """One request: who asks, and what ends with it."""

    server: Server
    owner: str
    stack: AsyncExitStack

    async def model(self, name: str) -> Served:
        """A loaded decoder that stays loaded until the request ends. Raises ApiError for an encoder."""
        found = await self.any_model(name)
        if isinstance(found, ServedEncoder):
            why, fix = f"{name!r} is an encoder: it makes vectors of texts", "send it to /v1/embeddings"
            raise refuse("the model writes nothing", why=why, fix=fix, param="model")
        return found

    async def any_model(self, name: str) -> Served | ServedEncoder:
        """A loaded model of any kind."""
        return await self.stack.enter_async_context(self.server.pool.lease(name))

    async def start(
        self, served: Served, salt: str, prompts: Sequence[list[int]], sampling: Sampling, n: int, echo: bool = False
    ) -> Job:
        """Ask for ``n`` replies to each prompt, with the seeds that follow each other; they end with the request."""
        job, deadline = Job(self.server, served), time.monotonic() + self.server.settings.request_seconds
        self.stack.callback(job.close)
        for index, prompt in enumerate(prompt for prompt in prompts for _ in range(n)):
            seeded = replace(sampling, seed=((sampling.seed or 0) + index % n) % 2**63)
            request = Request(f"{secrets.token_hex(12)}", tuple(prompt), seeded, salt, deadline=deadline, echo=echo)
            await job.submit(request, index)
        self.server.metrics.prompt_tokens += sum(map(len, prompts))
        return job


class Job:
    """Replies that are being written, from the engine's events to pieces of text."""

    def __init__(self, server: Server, served: Served) -> None:
        self.served, self._server = served, server
        self._loop, self._events = asyncio.get_running_loop(), asyncio.Queue[Event]()
        self._open: dict[str, tuple[int, StreamDecoder, StopScanner]] = {}
        self._closed, self._started, self._began = False, time.perf_counter(), False

    async def submit(self, request: Request, index: int) -> None:
        """Add a reply. Raises what the engine refuses it with."""
        self._open[request.id] = index, StreamDecoder(self.served.tokenizer), StopScanner(request.sampling.stop)
        if request.sampling.grammar:  # compiling one takes time
            await asyncio.to_thread(self.served.engine.submit, request, self._deliver)
        else:
            self.served.engine.submit(request, self._deliver)

    async def pieces(self) -> AsyncIterator[tuple[int, Piece, Event]]:
        """Pieces of all replies as they are written, each with the number of its reply and the event it came with.

        Raises:
            SeedbedError: a reply failed; the others end with it.
        """
        while self._open:
            event = await self._events.get()
            if event.error:
                raise event.error
            if not self._began:
                self._began = True
                self._server.metrics.first_token(time.perf_counter() - self._started)
            if event.request_id in self._open:
                yield self._piece(event)

    def fail(self, error: SeedbedError) -> None:
        """End all replies with an error."""
        self.close()
        self._events.put_nowait(Event("", error=error))

    def close(self) -> None:
        """Stop writing."""
        self._closed = True
        for request_id in self._open:
            self.served.engine.cancel(request_id)

    def _deliver(self, event: Event) -> None:
        """In the engine's thread. A request that was submitted while its client left is cancelled here."""
        if self._closed:
            self.served.engine.cancel(event.request_id)
        else:
            self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event) -> None:
        if self._events.qsize() < self._server.settings.buffer_events:
            self._events.put_nowait(event)
        elif not self._closed:
            self._server.metrics.slow_readers += 1
            why = f"{self._events.qsize()} tokens were waiting for it"
            self.fail(ApiError(408, "the reader is too slow", why=why, fix="read faster", code="slow_reader"))

    def _piece(self, event: Event) -> tuple[int, Piece, Event]:
        assert event.token is not None  # it is no error
        index, decoder, scanner = self._open[event.request_id]
        token, finish = event.token, event.token.finish
        self._server.metrics.generated_tokens += 1
        fresh = "" if finish == "end" else decoder.push(token.id)
        shown, stopped = scanner.push(fresh + decoder.flush() if finish else fresh)
        if stopped:
            self.served.engine.cancel(event.request_id)
            finish = "stop"
        elif finish:
            shown += scanner.flush()
        if finish:
            del self._open[event.request_id]
        return index, Piece(shown, token, finish), event


def _here(request: HttpRequest) -> RequestContext:
    if request.query_params and not request.url.path.endswith("/input_items"):
        name = next(iter(request.query_params))
        what = f"unknown query parameter {name[:100]!r}"
        raise refuse(what, why="this route reads none", fix="leave it out", param=name)
    context = request.scope["seedbed.context"]
    assert isinstance(context, RequestContext)
    return context


Here = Annotated[RequestContext, Depends(_here)]


def provenance(served: Ready, sampling: Sampling | None = None) -> dict[str, str]:
    """The header that says what an answer was made with."""
    loaded, seed = served.loaded, "none" if sampling is None else sampling.seed
    return {"x-seedbed-provenance": f"{served.origin}; quantization={loaded.quantization or 'none'}; seed={seed}"}


def stream(lines: AsyncIterator[str], headers: Mapping[str, str]) -> Response:
    """Server-sent events; an error in the middle is the last of them."""

    async def guarded() -> AsyncIterator[str]:
        try:
            async for line in lines:
                yield line
        except SeedbedError as error:
            yield sse(error_body(error)[1])
        yield "data: [DONE]\n\n"

    return StreamingResponse(guarded(), headers=dict(headers), media_type="text/event-stream")


def sse(data: Mapping[str, Any], event: str = "") -> str:
    """One server-sent event."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data, separators=(',', ':'))}\n\n"  # ASCII: some clients cut lines at U+2028
