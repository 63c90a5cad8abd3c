"""The state of a server and of one request, its counters, and the bridge from the engine's thread to the event loop."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends
from fastapi.responses import StreamingResponse
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from seedbed.chat.memory import fit_window
from seedbed.chat.messages import Delta
from seedbed.chat.rendering import PromptEncoder
from seedbed.chat.reply_builder import ReplyBuilder
from seedbed.core.errors import CorruptError, SeedbedError
from seedbed.inference.engine_client import EngineClient
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Event, Token
from seedbed.serve.auth import Keys
from seedbed.serve.collection_cache import CollectionCache
from seedbed.serve.errors import ApiError, error_body, refuse
from seedbed.serve.executors import Executors
from seedbed.serve.from_wire import ReplyTask
from seedbed.serve.json_body import BodyShares
from seedbed.serve.metrics import Metrics
from seedbed.serve.pool import ModelPool, Ready, Served, ServedEncoder
from seedbed.serve.response_store import ResponseStore
from seedbed.serve.settings import ServeSettings
from seedbed.serve.to_wire import sse

P = ParamSpec("P")
T = TypeVar("T")
ENDED = SeedbedError("the request ended", why="its client left", fix="ask again")
REMOVED = ApiError(401, "the key was removed", why="it is there no longer", fix="use another", code="invalid_api_key")


@dataclass
class Server:
    """The state that all requests share. Without ``keys``, whoever reaches the server may use it."""

    settings: ServeSettings
    keys: Keys | None
    pool: ModelPool
    store: ResponseStore
    collections: CollectionCache
    metrics: Metrics = field(default_factory=Metrics)
    bodies: BodyShares = field(init=False)
    instance: str = field(default_factory=partial(secrets.token_hex, 8))
    draining: bool = False
    in_flight: int = 0
    executors: Executors = field(init=False)
    running: dict[tuple[str, str], Any] = field(default_factory=dict)  # responses being written, by owner and id
    open_requests: set[RequestContext] = field(default_factory=set)

    def end_removed(self) -> None:
        """End the requests of keys that are there no longer; called often, by the event loop."""
        if self.keys is None or not self.open_requests:
            return
        try:
            owners = self.keys.owners()
        except (CorruptError, OSError):
            return  # nothing new is let in meanwhile, and who was let in is not known to be removed
        for request in self.open_requests:
            if request.owner and request.owner not in owners:
                request.end(REMOVED)
        self.metrics.forget(self.metrics.owners - {"", *owners})

    def __post_init__(self) -> None:
        self.executors = Executors(self.settings)
        self.bodies = BodyShares(self.settings.bodies_bytes)


@dataclass(eq=False)
class RequestContext:
    """One request: its owner, and the work that ends with it."""

    server: Server
    owner: str
    stack: AsyncExitStack
    _clients: list[EngineClient] = field(default_factory=list)
    _ended: SeedbedError | None = None

    def adopt(self, client: EngineClient) -> None:
        """Let a client's work end with the request. Raises the error that the request was ended with."""
        self.require()
        self._clients.append(client)
        self.stack.callback(client.end, ENDED)

    def require(self) -> None:
        """Raise the error that the request was ended with, if it was."""
        if self._ended:
            raise self._ended

    def end(self, error: SeedbedError) -> None:
        """End the work of the request, now and later."""
        if self._ended is None:
            self._ended = error
            for client in self._clients:
                client.end(error)

    @property
    def metrics(self) -> Metrics:
        """The counters of the request's key."""
        return self.server.metrics.of(self.owner)

    async def model(self, name: str) -> Served:
        """Return a loaded decoder that stays loaded until the request ends. Raises ApiError for an encoder."""
        found = await self.any_model(name)
        if isinstance(found, ServedEncoder):
            why, fix = f"{name!r} is an encoder: it makes vectors of texts", "send it to /v1/embeddings"
            raise refuse("the model writes nothing", why=why, fix=fix, param="model")
        return found

    async def any_model(self, name: str) -> Served | ServedEncoder:
        """Return a loaded model of any kind."""
        return await self.stack.enter_async_context(self.server.pool.lease(name))

    async def look_up(self, function: Callable[P, T], *args: Any) -> T:
        """Run a short function that reads, in a thread that nothing long is run in."""
        return await self.server.executors.look_up(function, *args)

    async def work(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread when it is this key's turn. Raises as :meth:`require`."""
        self.require()
        return await self.server.executors.work.run(self.owner, function, *args, **kwargs)

    def check_length(self, *texts: str) -> None:
        """Raise ApiError for a prompt's texts that are too long to be tokenized."""
        if (length := sum(map(len, texts))) > (most := self.server.settings.text_chars):
            why = f"it has {length:,} characters, {most:,} are tokenized at once"
            raise ApiError(413, "the prompt is too long", why=why, fix="send less", code="context_length_exceeded")

    async def answer(self, served: Served, task: ReplyTask) -> Job:
        """Ask for the replies to a conversation; they end with the request."""
        self.check_length(*(message.text for message in task.messages))
        prompt = await self.work(_encode, _prompts(served, task), task)
        make = partial(ReplyBuilder, served.tokenizer, task.sampling.stop, bool(task.toolbox), task.wants_logprobs)
        builders = [make(len(prompt), task.guarded) for _ in range(task.replies)]
        return await self.start(served, task.salt, [prompt], task.sampling, builders)

    async def start(
        self,
        served: Served,
        salt: str,
        prompts: Sequence[list[int]],
        sampling: Sampling,
        builders: Sequence[ReplyBuilder],
        echo: bool = False,
    ) -> Job:
        """Ask for replies, equally many to each prompt, with the seeds that follow each other."""
        client = served.client(salt, self.owner, self.server.settings.request_seconds)
        job, n = Job(self.server, self.owner, client), len(builders) // len(prompts)
        self.adopt(client)
        for index, builder in enumerate(builders):
            seeded = replace(sampling, seed=((sampling.seed or 0) + index % n) % 2**63)
            await job.submit(prompts[index // n], seeded, index, builder, echo)
        self.metrics.add("prompt_tokens", sum(map(len, prompts)))
        return job


class Job:
    """Replies that are being written: the engine's events, read in the event loop."""

    def __init__(self, server: Server, owner: str, client: EngineClient) -> None:
        self.client, self.replies = client, list[ReplyBuilder]()
        self._server, self._owner, self._loop = server, owner, asyncio.get_running_loop()
        self._metrics = server.metrics.of(owner)
        self._events, self._open = asyncio.Queue[Event](), dict[str, int]()
        self._started, self._began, self._late = time.perf_counter(), False, False

    async def submit(
        self, prompt: Sequence[int], sampling: Sampling, index: int, builder: ReplyBuilder, echo: bool
    ) -> None:
        """Add a reply. Raises the engine's refusal."""
        ask = partial(self.client.submit, prompt, sampling, self._deliver, echo=echo)
        work = self._server.executors.work  # compiling a grammar takes time
        name = await work.run(self._owner, ask) if sampling.grammar else ask()
        self._open[name] = index
        self.replies.append(builder)

    async def deltas(self) -> AsyncIterator[tuple[int, Delta, Event]]:
        """Yield parts of all replies as they are written, each with the number of its reply and its event.

        Raises the error of a reply that failed; the others end with it.
        """
        while self._open:
            event = await self._events.get()
            if event.error:
                raise event.error
            if not self._began:
                self._began = True
                self._metrics.first_token(time.perf_counter() - self._started)
            if event.token and event.request_id in self._open:
                index = self._open[event.request_id]
                delta = self._add(self.replies[index], event.token, event.request_id)
                yield index, delta, event

    def _add(self, reply: ReplyBuilder, token: Token, request_id: str) -> Delta:
        self._metrics.add("generated_tokens")
        delta = reply.add(token)
        if reply.finish:
            del self._open[request_id]
            self.client.cancel(request_id)  # a stop string or a loop ends it before the engine does
        return delta

    def _deliver(self, event: Event) -> None:
        """Take an event from the engine's thread."""
        self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event) -> None:
        if event.error or self._events.qsize() < self._server.settings.buffer_events:
            self._events.put_nowait(event)
        elif not self._late:
            self._late = True
            self._metrics.add("slow_readers")
            why = f"{self._events.qsize()} tokens were waiting for it"
            self.client.end(ApiError(408, "the reader is too slow", why=why, fix="read faster", code="slow_reader"))


def _prompts(served: Served, task: ReplyTask) -> PromptEncoder:
    return PromptEncoder(served.tokenizer, served.window, task.toolbox, task.variables)


def _encode(prompts: PromptEncoder, task: ReplyTask) -> list[int]:
    messages = task.messages
    if task.truncates:
        messages = fit_window(messages, prompts, task.sampling.max_tokens).messages
    return prompts.encode(messages)


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
    """Return the header that names the model, tokenizer, quantization and seed of an answer."""
    loaded, seed = served.loaded, "none" if sampling is None else sampling.seed
    return {"x-seedbed-provenance": f"{served.origin}; quantization={loaded.quantization or 'none'}; seed={seed}"}


def stream(lines: AsyncIterator[str], headers: Mapping[str, str]) -> Response:
    """Send server-sent events; an error in the middle is the last of them."""

    async def guarded() -> AsyncIterator[str]:
        try:
            async for line in lines:
                yield line
        except SeedbedError as error:
            yield sse(error_body(error)[1])
        yield "data: [DONE]\n\n"

    return StreamingResponse(guarded(), headers=dict(headers), media_type="text/event-stream")
