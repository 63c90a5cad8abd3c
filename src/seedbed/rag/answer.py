"""Ask documents: find passages, answer from them with citations, or say that the documents do not tell.

That is decided before any model is asked, by the best sentence of the passages (``sentence_choice.py``), and again by
the answer: a model may say that the passages do not tell. The nearest passages are returned either way.

An answer is a stream: first the passages and the sentence of them that fits best, which need no model; then the model's
words as they are written; then the whole. :func:`ask` is the end of that stream.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Unpack

from seedbed.chat.messages import Message
from seedbed.chat.model import ChatModel, ReplyOptions
from seedbed.chat.tracing import Trace, span
from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import Span
from seedbed.rag.chains import CHAINS, Chain
from seedbed.rag.chains.cited import cited, own_sentences
from seedbed.rag.chains.map_reduce import map_reduce
from seedbed.rag.chains.map_rerank import map_rerank
from seedbed.rag.chains.quote import cite_runs, quote
from seedbed.rag.chains.refine import refine
from seedbed.rag.chains.run import Writing
from seedbed.rag.chains.stuff import stuff
from seedbed.rag.follow_up import rewrite
from seedbed.rag.instructed import instructed
from seedbed.rag.own_words import OwnWords
from seedbed.rag.passages import (
    NOT_FOUND,
    ChainResult,
    Passage,
    citation,
    cite,
    is_refusal,
    passages_of,
)
from seedbed.rag.record import Answer, AnswerDelta, CutPassage, WindowMeter, numbered
from seedbed.rag.scoring import leave_one_out, scorer_of
from seedbed.rag.sentence_choice import (
    FOUND,
    FOUND_BY_WORDS,
    RatedSentence,
    Standing,
    evidence_of,
    extract,
    rate_sentences,
)
from seedbed.search.contracts import Embedder, Hit

Search = Callable[[str, int], Sequence[Hit]]
"""A function from a question and a number to that many passages at most, best first."""
PASSAGES = 5
"""Passages to search for."""
_WRITINGS: Mapping[str, Callable[..., Writing]] = {
    "stuff": stuff.stream,
    "refine": refine.stream,
    "map-reduce": map_reduce.stream,
    "map-rerank": map_rerank.stream,
    "quote": quote.stream,
}


def ask(
    question: str,
    search: Search,
    model: ChatModel | None = None,
    *,
    chain: Chain | None = None,
    k: int = PASSAGES,
    threshold: float | None = None,
    embedder: Embedder | None = None,
    standing: Standing | None = None,
    evidence: bool = False,
    history: Sequence[Message] = (),
    **options: Unpack[ReplyOptions],
) -> Answer:
    """Answer a question from documents: the end of :func:`stream_answer`, which says more."""
    *_, last = stream_answer(
        question,
        search,
        model,
        chain=chain,
        k=k,
        threshold=threshold,
        embedder=embedder,
        standing=standing,
        evidence=evidence,
        history=history,
        **options,
    )
    assert last.answer is not None  # in the last part
    return last.answer


def stream_answer(
    question: str,
    search: Search,
    model: ChatModel | None = None,
    *,
    chain: Chain | None = None,
    k: int = PASSAGES,
    threshold: float | None = None,
    embedder: Embedder | None = None,
    standing: Standing | None = None,
    evidence: bool = False,
    history: Sequence[Message] = (),
    **options: Unpack[ReplyOptions],
) -> Generator[AnswerDelta, None, None]:
    """Answer a question from documents, part by part; closing the generator ends the model's work.

    Args:
        search: such as a collection's search.
        model: any; None for "extract", which needs none.
        chain: the best sentence, with sentences of the model's own before it ("cited"), unless another is named.
        k: passages to search for.
        threshold: of evidence; None for the measured one (:data:`FOUND`, or without an embedder
            :data:`FOUND_BY_WORDS`); 0 always asks the model, which is right when question and documents are in
            different languages.
        embedder: compares the question's meaning with each sentence's; None: words decide alone.
        standing: how far the nearest passage stands out, as :meth:`Collection.standing`; a part of the evidence.
        evidence: compute each passage's part of the answer's log-probability (k + 1 further calls).
        history: the conversation before the question, which may then be a follow-up; the model is told its system
            messages with every prompt.

    Raises:
        UsageError: the question is empty, the chain is unknown or needs a model, or ``evidence`` needs a model that
            tells probabilities.
        CapacityError: the question leaves no room for a passage in the model's window.
    """
    chain = chain or default_chain(model is not None)
    check(question, chain, model is not None)
    asked = None if chain == "extract" or model is None else instructed(model, history)
    if evidence:
        scorer_of(asked)  # refuse now rather than after the answer
    trace = options.get("trace")
    least = threshold if threshold is not None else FOUND if embedder is not None else FOUND_BY_WORDS
    with span(trace, "chain", "ask", chain=chain, content={"question": question}) as work:
        alone = rewrite(model, history, question, trace)
        hits = _search(alone.question, search, k, trace)
        rated = rate_sentences(alone.question, [hit.chunk for hit in hits], embedder)
        covered = evidence_of(rated, standing(alone.question) if standing is not None else None)
        name, rewritten = asked.name if asked is not None else "", alone.question if alone.question != question else ""
        answer = Answer(
            question, NOT_FOUND, False, chain, name, covered, rewritten=rewritten, hits=hits, usage=alone.usage
        )
        if rated and covered >= least:
            answer = yield from _answered(answer, alone.question, rated, asked, evidence, options)
        work.data.update(found=answer.found, evidence=round(covered, 4), content={"answer": answer.text})
    yield AnswerDelta(answer=answer)


def default_chain(has_model: bool) -> Chain:
    """Return the way to answer unless one is named."""
    return "cited" if has_model else "extract"


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


def _answered(
    answer: Answer,
    question: str,
    rated: Sequence[RatedSentence],
    model: ChatModel | None,
    evidence: bool,
    options: ReplyOptions,
) -> Generator[AnswerDelta, None, Answer]:
    """Yield the parts of an answer from its hits, and return it."""
    chunks = [hit.chunk for hit in answer.hits]
    if model is None or answer.chain == "cited":
        answer = _quoted(answer, extract(rated, trace=options.get("trace")))
        yield AnswerDelta(found=answer)
        if model is None:
            return answer
    own, written = OwnWords(question, answer, passages_of(chunks)), ""
    writing = _writing(answer, question, chunks, model, options)
    while True:
        try:
            draft = next(writing)
        except StopIteration as end:
            result: ChainResult = end.value
            break
        written += draft
        settled = own.settle(written) if answer.chain == "cited" else ""
        yield AnswerDelta(draft, settled)
    meter, usage = WindowMeter.of(model, chunks, result.shown), answer.usage + result.usage
    cut = tuple(_cut(passage, model) for passage in result.left)
    answer = replace(answer, meter=meter, usage=usage, cut=cut, finish=result.finish)
    scorer = model if evidence else None
    if answer.chain != "cited":
        return answer if is_refusal(result.text) else _cited(answer, question, result, scorer)
    if is_refusal(result.text):
        return replace(answer, declined=True)
    gains = leave_one_out(scorer, question, result.shown, " ".join(own_sentences(result.text))) if scorer else None
    return own.answer(answer, result.text, gains)


def _writing(
    answer: Answer, question: str, chunks: Sequence[Chunk], model: ChatModel, options: ReplyOptions
) -> Writing:
    """Begin the chain of an answer."""
    if answer.chain == "cited":
        best = next((one.passage for one in answer.sources), 1)
        return cited.stream(model, question, chunks, best=best, **options)
    return _WRITINGS[answer.chain](model, question, chunks, **options)


def _quoted(answer: Answer, result: ChainResult) -> Answer:
    """Return the answer with the sentences that were extracted as its text, each from a source."""
    if is_refusal(result.text):
        return answer
    quotes, at = [], 0
    for one in result.shown:
        said = " ".join(one.text.lstrip("# ").split())  # as it stands in the text
        at = result.text.index(said, at)
        quotes.append(citation((at, at + len(said)), one, 1.0, None))
    citations, sources = numbered(quotes, quotes)
    return replace(answer, found=True, text=result.text, citations=citations, sources=sources)


def _cited(answer: Answer, question: str, result: ChainResult, scorer: ChatModel | None) -> Answer:
    """Return the answer as found, with a chain's text and its citations."""
    text = result.text.strip()
    evidence = leave_one_out(scorer, question, result.shown, text) if scorer is not None else None
    if answer.chain == "quote":  # every run stands in a passage: which one is known, not judged by words
        cited_places, unsupported = cite_runs(text, result.shown), tuple[Span, ...]()
    else:
        cited_places, unsupported = cite(text, result.shown, question=question, evidence=evidence)
    citations, sources = numbered((), cited_places)
    return replace(answer, found=True, text=text, citations=citations, sources=sources, unsupported=unsupported)


def _cut(passage: Passage, model: ChatModel) -> CutPassage:
    chunk = passage.chunk
    return CutPassage(
        chunk.source, chunk.start + passage.start, chunk.start + passage.end, model.count_tokens(passage.text)
    )
