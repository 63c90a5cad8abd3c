"""Ask documents: find passages, answer from them with citations, or say that the documents do not tell.

That is decided before any model is asked, by the best sentence of the passages (``sentence_choice.py``), and again by
the answer: a model may say that the passages do not tell. The nearest passages are returned either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Unpack

from seedbed.chat.messages import Usage
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.tracing import Trace, span
from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import Span
from seedbed.rag.chains import CHAINS, Chain
from seedbed.rag.chains.map_reduce import map_reduce
from seedbed.rag.chains.map_rerank import map_rerank
from seedbed.rag.chains.quote import cite_runs, quote
from seedbed.rag.chains.refine import refine
from seedbed.rag.chains.stuff import stuff
from seedbed.rag.passages import NOT_FOUND, ChainResult, Citation, Passage, cite, is_refusal
from seedbed.rag.scoring import leave_one_out, scorer_of
from seedbed.rag.sentence_choice import FOUND, FOUND_BY_WORDS, RatedSentence, extract, rate_sentences
from seedbed.search.contracts import Embedder, Hit

Search = Callable[[str, int], Sequence[Hit]]
"""A function from a question and a number to that many passages at most, best first."""
PASSAGES = 5
"""Passages to search for."""


@dataclass(frozen=True)
class CutPassage:
    """A part of a passage that no prompt had room for, by its place in the source; ``tokens`` is its length."""

    source: str
    start: int
    end: int
    tokens: int


@dataclass(frozen=True)
class Answer:
    """An answer with its sources.

    Attributes:
        found: the documents tell. If not, ``text`` is NOT_FOUND and there are no citations.
        evidence: how well the best sentence of the passages answers: 0 to 1; see ``sentence_choice.py``.
        unsupported: spans of ``text``: sentences that no passage supports.
        hits: of the search, best first; citations name them by their place, from 1.
        cut: parts of passages that no prompt had room for.
    """

    question: str
    text: str
    found: bool
    chain: str
    model: str
    evidence: float
    citations: tuple[Citation, ...] = ()
    unsupported: tuple[Span, ...] = ()
    hits: tuple[Hit, ...] = ()
    cut: tuple[CutPassage, ...] = ()
    usage: Usage = field(default_factory=Usage)

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "usage": self.usage.to_wire()}


def ask(
    question: str,
    search: Search,
    model: ChatModel | None = None,
    *,
    chain: Chain = "stuff",
    k: int = PASSAGES,
    threshold: float | None = None,
    embedder: Embedder | None = None,
    evidence: bool = False,
    **options: Unpack[ReplyOptions],
) -> Answer:
    """Answer a question from documents.

    Args:
        search: such as a collection's search.
        model: any; None for "extract", which needs none.
        k: passages to search for.
        threshold: of evidence; None for the measured one (:data:`FOUND`, or without an embedder
            :data:`FOUND_BY_WORDS`); 0 always asks the model, which is right when question and documents are in
            different languages.
        embedder: compares the question's meaning with each sentence's; None: words decide alone.
        evidence: compute each passage's part of the answer's log-probability (k + 1 further calls).

    Raises:
        UsageError: the question is empty, the chain is unknown or needs a model, or ``evidence`` needs a model that
            tells probabilities.
        CapacityError: the question leaves no room for a passage in the model's window.
    """
    check(question, chain, model is not None)
    asked = None if chain == "extract" else model
    if evidence:
        scorer_of(asked)  # refuse now rather than after the answer
    trace = options.get("trace")
    least = threshold if threshold is not None else FOUND if embedder is not None else FOUND_BY_WORDS
    with span(trace, "chain", "ask", chain=chain, content={"question": question}) as work:
        hits = _search(question, search, k, trace)
        rated = rate_sentences(question, [hit.chunk for hit in hits], embedder)
        covered = rated[0].score if rated else 0.0
        result = ChainResult(NOT_FOUND, ())
        if rated and covered >= least:
            result = _run(chain, question, rated, [hit.chunk for hit in hits], asked, options)
        name, cut = asked.name if asked is not None else "", tuple(_cut(passage, asked) for passage in result.left)
        answer = Answer(question, NOT_FOUND, False, chain, name, covered, hits=hits, cut=cut, usage=result.usage)
        if not is_refusal(result.text):
            answer = _cited(answer, result, asked if evidence else None)
        work.data.update(found=answer.found, evidence=round(covered, 4), content={"answer": answer.text})
        return answer


def check(question: str, chain: str, has_model: bool) -> None:
    """Raise UsageError if the question is empty, the chain is unknown, or it needs a model and there is none."""
    if not question.strip():
        raise UsageError("the question is empty", why="there is nothing to look for", fix="ask something")
    if chain not in CHAINS:
        raise UsageError(f"there is no chain {chain!r}", why="it is not known", fix=f"use {', '.join(CHAINS)}")
    if not has_model and chain != "extract":
        why = f"the chain {chain} needs one to write the answer; only extract needs none"
        raise UsageError("there is no model", why=why, fix="name a model, or use the chain extract")


def _search(question: str, search: Search, k: int, trace: Trace | None) -> tuple[Hit, ...]:
    with span(trace, "retriever", "search", k=k, content={"query": question}) as work:
        hits = tuple(search(question, k))[:k]
        work.data.update(found=len(hits), content={"sources": [hit.chunk.source for hit in hits]})
        return hits


def _run(
    chain: Chain,
    question: str,
    rated: Sequence[RatedSentence],
    chunks: Sequence[Chunk],
    model: ChatModel | None,
    options: ReplyOptions,
) -> ChainResult:
    if model is None:
        return extract(rated, trace=options.get("trace"))
    run = {"stuff": stuff, "refine": refine, "map-reduce": map_reduce, "map-rerank": map_rerank, "quote": quote}[chain]
    return run(model, question, chunks, **options)


def _cited(answer: Answer, result: ChainResult, scorer: ChatModel | None) -> Answer:
    """Return the answer as found, with a chain's text and its citations."""
    text = result.text.strip()
    evidence = leave_one_out(scorer, answer.question, result.shown, text) if scorer is not None else None
    if answer.chain == "quote":  # every run stands in a passage: which one is known, not judged by words
        return replace(answer, found=True, text=text, citations=cite_runs(text, result.shown))
    citations, unsupported = cite(text, result.shown, question=answer.question, evidence=evidence)
    return replace(answer, found=True, text=text, citations=citations, unsupported=unsupported)


def _cut(passage: Passage, model: ChatModel | None) -> CutPassage:
    chunk = passage.chunk
    tokens = model.count_tokens(passage.text) if model is not None else 0
    return CutPassage(chunk.source, chunk.start + passage.start, chunk.start + passage.end, tokens)
