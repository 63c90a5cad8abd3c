"""An answer from documents as one record, which the command line, JSON, HTTP and the chat page all show.

Its parts, in the order in which they are shown: the answer's text, each sentence with the number of its source; the
sources, those quoted among them; what a model wrote and no passage supports; how much of the passages it read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from seedbed.chat.messages import FinishReason, Usage
from seedbed.chat.model import ChatModel
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import Span
from seedbed.rag.passages import Citation, Passage
from seedbed.search.contracts import Hit

DEMOTED = "Not supported by the passages:"
"""The words before what a model wrote and no passage supports."""
DECLINED = "The model did not find an answer in the passages; this is the sentence that fits best."
"""The remark where a model says that the passages do not tell, and their words say otherwise."""
_EXCERPT = 120
"""Characters of a passage that is only near."""


@dataclass(frozen=True)
class CutPassage:
    """A part of a passage that no prompt had room for, by its place in the source; ``tokens`` is its length."""

    source: str
    start: int
    end: int
    tokens: int


@dataclass(frozen=True)
class WindowMeter:
    """Counts the passages that were found and those that the model read, whole or in part, and their tokens."""

    read: int
    found: int
    tokens_read: int
    tokens_found: int

    @classmethod
    def of(cls, model: ChatModel, chunks: Sequence[Chunk], shown: Iterable[Passage]) -> WindowMeter:
        """Count the chunks that were found and the passages of them that were shown."""
        parts = {(part.number, part.start, part.end): part for part in shown}.values()
        tokens = sum(model.count_tokens(chunk.text) for chunk in chunks)
        read = sum(model.count_tokens(part.text) for part in parts)
        return cls(len({part.number for part in parts}), len(chunks), min(read, tokens), tokens)

    def __str__(self) -> str:
        counts = f"{self.read} of {self.found} passages"
        return f"read {counts}, {self.tokens_read:,} of {self.tokens_found:,} tokens"


@dataclass(frozen=True)
class AnswerSource:
    """A numbered place of a document; ``quoted`` where it is a sentence that answers by itself."""

    number: int
    quoted: bool
    passage: int
    chunk: str
    source: str
    page: int | None
    heading: str
    source_start: int
    source_end: int
    quote: str


@dataclass(frozen=True)
class Answer:
    """An answer with its sources.

    Attributes:
        question: as it was asked.
        rewritten: the question that was asked of the documents, where it is a follow-up; else empty.
        text: the answer: sentences that a chain wrote, or the quotation; if not ``found``, NOT_FOUND.
        found: the documents tell.
        declined: the model says that they do not, and the answer is the quotation all the same.
        evidence: how well the best sentence of the passages answers: 0 to 1; see ``sentence_choice.py``.
        citations: of sentences of ``text``.
        sources: the places that are cited or quoted, by their numbers.
        unsupported: spans of ``text`` that no passage supports; only of a chain that was asked for by name.
        demoted: sentences that a model wrote and no passage supports; they are not part of ``text``.
        hits: of the search, best first; citations name them by their place, from 1.
        cut: parts of passages that no prompt had room for.
        finish: "length" where the model's text was cut at its limit; of "cited", what was cut is not shown.
        meter: how much of the hits the model read; None where none was asked.
    """

    question: str
    text: str
    found: bool
    chain: str
    model: str
    evidence: float
    rewritten: str = ""
    declined: bool = False
    citations: tuple[Citation, ...] = ()
    sources: tuple[AnswerSource, ...] = ()
    unsupported: tuple[Span, ...] = ()
    demoted: tuple[str, ...] = ()
    hits: tuple[Hit, ...] = ()
    cut: tuple[CutPassage, ...] = ()
    meter: WindowMeter | None = None
    usage: Usage = field(default_factory=Usage)
    finish: FinishReason = "stop"

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "usage": self.usage.to_wire()}


@dataclass(frozen=True)
class AnswerDelta:
    """A part of an answer that is being made.

    Attributes:
        draft: text that the model writes, as it is written: whether a passage supports it is not known yet.
        found: before the model writes, once: the answer with its quotation as if the model wrote nothing.
        settled: the next sentence of the answer, with the number of its source.
        answer: the whole of it, once, at the end.
    """

    draft: str = ""
    settled: str = ""
    found: Answer | None = None
    answer: Answer | None = None


def numbered(
    quotes: Sequence[Citation], citations: Sequence[Citation]
) -> tuple[tuple[Citation, ...], tuple[AnswerSource, ...]]:
    """Return the citations with the numbers of their places, and these: the quoted first, as they are known first."""
    places: dict[tuple[str, int, int], AnswerSource] = {}
    for quoted, one in [*((True, one) for one in quotes), *((False, one) for one in citations)]:
        where = one.source, one.source_start, one.source_end
        more = one.passage, one.chunk, one.source, one.page, one.heading, one.source_start, one.source_end, one.quote
        places.setdefault(where, AnswerSource(len(places) + 1, quoted, *more))
    found = (replace(one, number=places[one.source, one.source_start, one.source_end].number) for one in citations)
    return tuple(found), tuple(places.values())


def marked(text: str, citations: Iterable[Citation], unsupported: Iterable[Span] = ()) -> str:
    """Return an answer's text with ``[n]`` after each sentence that source n supports, ``[?]`` where none does."""
    marks = {one.end: f" [{one.number}]" for one in citations} | {end: " [?]" for _, end in unsupported}
    for end in sorted(marks, reverse=True):
        text = text[:end] + marks[end] + text[end:]
    return text


def content(answer: Answer) -> str:
    """Return what a client that knows nothing of documents shows: the text; of "cited" with sources and remarks."""
    return "\n".join(_lines(answer)) if answer.chain == "cited" and answer.found else answer.text


def answer_lines(answer: Answer) -> Iterator[str]:
    """Yield an answer with numbered sources, or the nearest passages where the documents do not answer."""
    if answer.found:
        yield from _lines(answer)
    else:
        yield answer.text
        yield from _nearest(answer.hits)


def _lines(answer: Answer) -> Iterator[str]:
    """Yield the lines of an answer that was found: its text, its sources, and what is no answer."""
    yield marked(answer.text, answer.citations, answer.unsupported)
    if answer.sources:
        yield ""
    evidence = {one.number: one.evidence for one in answer.citations if one.evidence is not None}
    for one in answer.sources:
        told = f" ({evidence[one.number]:+.2f} nats)" if one.number in evidence else ""
        yield f"[{one.number}] {_place(one)}: “{' '.join(one.quote.split())}”{told}"
    if answer.unsupported:
        yield "[?] no passage says this"
    if answer.declined:
        yield f"\n{DECLINED}"
    if answer.demoted:
        yield f"\n{DEMOTED} {' '.join(answer.demoted)}"


def _nearest(hits: Sequence[Hit]) -> Iterator[str]:
    if hits:
        yield "\nThe nearest passages:"
    for hit in hits:
        line = " ".join(hit.chunk.text.split())
        yield f"  {_place(hit.chunk)}: “{line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + '…'}”"


def _place(one: AnswerSource | Chunk) -> str:
    page = f":{one.page}" if one.page is not None else ""
    return f"{one.source}{page}" + (f", {one.heading}" if one.heading else "")
