"""A question to a collection of documents: opens the collection and the model, answers, and keeps a trace if wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, nullcontext
from typing import Any

from seedbed.chat.open_model import open_model
from seedbed.chat.repetition import Repetition
from seedbed.chat.trace_log import TraceLog
from seedbed.chat.tracing import TraceEvent, fan_out
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.rag.answer import check, default_chain, stream_answer
from seedbed.rag.chains import Chain
from seedbed.rag.collection import Collection
from seedbed.rag.record import Answer, AnswerDelta
from seedbed.search.modes import Mode


def say_loop(event: TraceEvent) -> None:
    """Say that a model's reply was ended because it repeated itself; a trace."""
    if event.what == "model" and (loop := event.data.get("repetition")):
        say(f"({Repetition(**loop)})")


def ask_documents(
    library: Library,
    question: str,
    collection: str,
    *,
    model: str | None = None,
    chain: Chain | None = None,
    mode: Mode = "hybrid",
    limit: int = 5,
    threshold: float | None = None,
    context: int | None = None,
    max_tokens: int | None = None,
    given: Mapping[str, Any] | None = None,
    repetition_guard: bool = True,
    evidence: bool = False,
    traced: bool = False,
    watch: Callable[[AnswerDelta], None] = lambda delta: None,
) -> tuple[Answer, str | None]:
    """Return the answer, and the id of its trace if one was kept.

    Args:
        model: a name, an id, URL or URL#NAME; None to quote the documents.
        chain: None for "cited", without a model "extract".
        limit: passages to find.
        threshold: of the evidence that the passages tell; None for the measured one.
        given: further options of the model's replies, as of :class:`ReplyOptions`; greedy unless they say otherwise.
        repetition_guard: end a reply that repeats itself.
        context: tokens of the model's window, for a server that does not say.
        watch: is told of every part of the answer as it comes.

    Raises:
        NotFoundError: there is no such collection or model.
        UsageError: the chain needs a model, or the question is empty.
    """
    chain = chain or default_chain(model is not None)
    check(question, chain, model is not None)  # before anything is opened
    options: dict[str, Any] = {**(given or {}), **({} if max_tokens is None else {"max_tokens": max_tokens})}
    if not repetition_guard:
        options["repetition_guard"] = False
    spans: list[str] = []
    log = TraceLog.of(library) if traced else None

    def note(event: TraceEvent) -> None:
        spans.append(event.span)

    with closing(Collection.open(library, collection)) as opened, log or nullcontext():
        parts = stream_answer(
            question,
            lambda text, k: opened.search(text, k, mode=mode),
            open_model(model, library, window=context) if model and chain != "extract" else None,
            chain=chain,
            k=limit,
            threshold=threshold,
            embedder=opened.sentence_embedder,
            standing=opened.standing,
            evidence=evidence,
            trace=fan_out(log, note, say_loop),
            **options,
        )
        for part in parts:
            watch(part)
    assert part.answer is not None  # in the last part
    return part.answer, spans[0] if log is not None and spans else None
