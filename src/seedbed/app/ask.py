"""A question to a collection of documents: opens the collection and the model, answers, and keeps a trace if wanted."""

from __future__ import annotations

from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import Any

from seedbed.chat.open_model import open_model
from seedbed.chat.trace_log import TraceLog
from seedbed.chat.tracing import TraceEvent, fan_out
from seedbed.core.artifacts import Library
from seedbed.core.progress import progress
from seedbed.rag.answer import FOUND, Answer, ask, check
from seedbed.rag.chains import Chain
from seedbed.rag.collection import Collection
from seedbed.search.modes import Mode


@dataclass(frozen=True)
class Inquiry:
    """A question with how it is answered.

    Attributes:
        model: a name, an id, URL or URL#NAME; None to quote the documents.
        chain: None for "stuff", without a model "extract".
        limit: passages to find.
        threshold: share of the question's words that a passage must hold; None for the measured one.
        context: tokens of the model's window, for a server that does not say.
        max_tokens: of an answer.
        traced: keep a trace.
    """

    question: str
    collection: str
    model: str | None = None
    chain: Chain | None = None
    mode: Mode = "hybrid"
    limit: int = 5
    threshold: float | None = None
    context: int | None = None
    max_tokens: int | None = None
    evidence: bool = False
    traced: bool = False


def answer_inquiry(library: Library, inquiry: Inquiry) -> tuple[Answer, str | None]:
    """Return the answer, and the id of its trace if one was kept.

    Raises:
        NotFoundError: there is no such collection or model.
        UsageError: the chain needs a model, or the question is empty.
    """
    chain = inquiry.chain or ("stuff" if inquiry.model else "extract")
    check(inquiry.question, chain, inquiry.model is not None)  # before anything is opened
    options: dict[str, Any] = {} if inquiry.max_tokens is None else {"max_tokens": inquiry.max_tokens}
    spans: list[str] = []
    log = TraceLog.of(library) if inquiry.traced else None
    with (
        closing(Collection.open(library, inquiry.collection)) as collection,
        progress("asking", unit="replies") as bar,
        log or nullcontext(),
    ):

        def note(event: TraceEvent) -> None:
            spans.append(event.span)
            if (event.what, event.kind) == ("model", "end"):
                bar.advance()

        needed = inquiry.model if chain != "extract" else None
        answer = ask(
            inquiry.question,
            lambda question, k: collection.search(question, k, mode=inquiry.mode),
            open_model(needed, library, window=inquiry.context) if needed else None,
            chain=chain,
            k=inquiry.limit,
            threshold=FOUND if inquiry.threshold is None else inquiry.threshold,
            evidence=inquiry.evidence,
            trace=fan_out(log, note),
            **options,
        )
    return answer, spans[0] if log is not None and spans else None
