"""Answers from documents, for chat completions and responses alike: made in a thread, read in the event loop.

The thread asks the model through the shared engine, beside other requests. The sources are known before the model
writes and are sent first; its words follow as it writes them, as a draft; content is what is settled: each sentence
once a passage supports it, then the quotation.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.chat.model import ReplyOptions
from seedbed.chat.tracing import Trace, TraceEvent
from seedbed.inference.engine_client import EngineClient
from seedbed.inference.parameters import Sampling
from seedbed.rag.answer import stream_answer
from seedbed.rag.record import Answer, AnswerDelta, content
from seedbed.serve.bodies import ChatRequest, DocumentOptions
from seedbed.serve.context import RequestContext, Server, provenance
from seedbed.serve.errors import refuse
from seedbed.serve.pool import Served
from seedbed.serve.response_bodies import ResponseRequest
from seedbed.serve.to_wire import Table

Parts = Generator[AnswerDelta, None, None]


class DocumentJob:
    """An answer that is being made by a loaded model.

    Args:
        owner: whose turn its work is.
        client: asks the model, and can end its work.
        sampling: of the model's replies.
        parts: begins the work, in a thread of its own; the trace is told of it.

    Attributes:
        headers: of the response.
        loop: the field of a reply that was ended because it repeated itself, if one was.
        answer: the whole of it, at the end of :meth:`deltas`.
        sent: the content so far.
    """

    def __init__(
        self,
        server: Server,
        owner: str,
        served: Served,
        client: EngineClient,
        sampling: Sampling,
        parts: Callable[[Trace], Parts],
    ) -> None:
        self.served, self.client, self.sampling = served, client, sampling
        self.headers = provenance(served, sampling)
        self.loop: Table = {}
        self.answer: Answer | None = None
        self.sent = ""
        self._server, self._owner, self._parts = server, owner, parts
        self._metrics = server.metrics.of(owner)
        self._started, self._ended = time.perf_counter(), threading.Event()

    async def deltas(self) -> AsyncIterator[tuple[str, AnswerDelta]]:
        """Yield the parts of the answer as they come, each with the content that it adds."""
        began = False
        async for part in self._read():
            if part.draft and not began:
                began = True
                self._metrics.first_token(time.perf_counter() - self._started)
            if part.answer is not None:
                self._count(part.answer)
            fresh = content(part.answer)[len(self.sent) :] if part.answer else part.settled
            self.sent += fresh
            yield fresh, part

    async def _read(self) -> AsyncIterator[AnswerDelta]:
        """Run the work in a thread; it ends with its reader."""
        loop, inbox = asyncio.get_running_loop(), asyncio.Queue[AnswerDelta | None]()

        def work() -> None:
            with closing(self._parts(self._note)) as parts:
                for part in parts:
                    if self._ended.is_set():
                        return
                    loop.call_soon_threadsafe(inbox.put_nowait, part)

        def finished(task: asyncio.Task[None]) -> None:
            inbox.put_nowait(None)
            if not task.cancelled():
                task.exception()  # of a reader that has left nobody asks for it

        working = asyncio.create_task(self._server.executors.chains.run(self._owner, work))
        working.add_done_callback(finished)
        try:
            while (part := await inbox.get()) is not None:
                yield part
            await working
        finally:
            self._ended.set()
            working.cancel()  # where it still waits for its turn

    def _note(self, event: TraceEvent) -> None:
        if event.what == "model" and "repetition" in event.data:
            self.loop = {"repetition": event.data["repetition"]}

    def _count(self, answer: Answer) -> None:
        self.answer = answer
        self._metrics.add("prompt_tokens", answer.usage.prompt_tokens)
        self._metrics.add("generated_tokens", answer.usage.completion_tokens)


async def document_job(
    body: ChatRequest | ResponseRequest, messages: Sequence[Message], limit: int | None, context: RequestContext
) -> DocumentJob:
    """Begin the answer to the last message, which ends with the request. Raises ApiError for what cannot be asked."""
    assert body.documents is not None
    question, history = _question_of(messages)
    served = await context.model(body.model)
    sampling = body.sampling(limit or served.window, 0, stated=served.stated)
    client = served.client(body.salt(context.owner), context.owner, context.server.settings.request_seconds)
    context.adopt(client)
    model = LocalModel(served.loaded, client, name=body.model, sampling=sampling)
    options: ReplyOptions = {"repetition_guard": body.repetition_guard}
    if "temperature" in body.model_fields_set:
        options["temperature"] = sampling.temperature
    if limit is not None:
        options["max_tokens"] = limit
    parts = partial(_parts, context.server, question, history, body.documents, model, options)
    return DocumentJob(context.server, context.owner, served, client, sampling, parts)


def _parts(
    server: Server,
    question: str,
    history: Sequence[Message],
    wanted: DocumentOptions,
    model: LocalModel,
    options: ReplyOptions,
    trace: Trace,
) -> Parts:
    """Open the collection and begin the answer."""
    collection = server.collections.open(wanted.collection)
    search = partial(collection.search, mode=wanted.mode, where=wanted.where)
    given: dict[str, Any] = {"chain": wanted.chain, "k": wanted.k, "evidence": wanted.evidence}
    given |= {"embedder": collection.sentence_embedder, "standing": collection.standing, "trace": trace}
    return stream_answer(question, search, model, history=history, **given, **options)


def _question_of(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """Return the last message as a question, and the conversation before it."""
    if messages[-1].role != "user" or not messages[-1].text.strip():
        why = "the last message is the question"
        raise refuse("there is no question", why=why, fix="end with a message of the user", param="messages")
    return messages[-1].text, messages[:-1]


def url_citations(answer: Answer) -> Iterator[Table]:
    """Yield citations as OpenAI writes them, whose only kind here is of an address, by their places in the content."""
    shift = 0
    for one in answer.citations:
        title = one.heading or one.source
        yield {"start_index": one.start + shift, "end_index": one.end + shift, "title": title, "url": one.source}
        shift += len(f" [{one.number}]") if answer.chain == "cited" else 0
