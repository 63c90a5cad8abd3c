"""Citations: link each sentence of an answer to the sentence of a passage that supports it, as a span of the source.

Support is the share of a sentence's words, by weight, that one sentence of a passage (or two neighbours) holds: the
mean of a share in any order and one in the same order (``vectors.tfidf``). Words of the question decide only
between equals, as an answer such as "twice" may stand in many places. A sentence without enough support is marked.
Not seen: a true paraphrase in other words is marked too, and a sentence that negates a passage is not.
:func:`seedbed.rag.scoring.leave_one_out` is a second measure, for models that tell probabilities.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seedbed.documents.sentences import Span, sentence_spans
from seedbed.rag.passages import Passage
from seedbed.vectors.tfidf import TermWeights, common_subsequence, coverage, terms

SUPPORTED = 0.5
"""Less support than this marks a sentence as unsupported.

`python benchmarks/answers.py`: 95 % of right answers reach it in the passages found for their question (92 % are cited
in the very sentence that tells), 2 % in those of the wrong collection. Up to 0.8 that hardly changes, but a model's
answer is seldom so close to the words of its source.
"""
_CLOSELY = 20
"""The best candidates, by words in any order, of which the order is compared too."""
_TIE = 0.05
"""Weight of the question's words."""


@dataclass(frozen=True)
class Citation:
    """A sentence of an answer and the passage that supports it.

    Attributes:
        start, end: the sentence, in the answer.
        passage: the passage's number.
        chunk: the chunk's id.
        source_start, source_end: the supporting sentences, in the source's text.
        quote: their text.
        support: 0 to 1.
        evidence: the passage's part of the answer's log-probability, in nats; None if it was not computed.
    """

    start: int
    end: int
    passage: int
    chunk: str
    source: str
    page: int | None
    heading: str
    source_start: int
    source_end: int
    quote: str
    support: float
    evidence: float | None = None


@dataclass(frozen=True)
class _Candidate:
    passage: Passage
    start: int
    end: int
    words: list[str]


def cite(
    answer: str,
    passages: Sequence[Passage],
    *,
    question: str = "",
    threshold: float = SUPPORTED,
    evidence: Mapping[int, float] | None = None,
) -> tuple[tuple[Citation, ...], tuple[Span, ...]]:
    """Link each sentence of an answer to its best support.

    Args:
        passages: to search; of equal ones the first wins.
        evidence: by the passages' numbers, as ``leave_one_out`` returns it.

    Returns:
        The citations and the spans of the unsupported sentences, each in the order of the answer. A sentence without
        words of its own (a greeting, "---") is in neither.
    """
    single = _sentences(passages)
    weights, asked = TermWeights([one.words for one in single]), terms(question)
    candidates = single + _pairs(single)
    citations, unsupported = [], []
    for start, end in sentence_spans(answer):
        said = terms(answer[start:end])
        best = _best(said, asked, candidates, weights)
        if best and best[1] >= threshold:
            citations.append(_citation((start, end), *best, evidence))
        elif said:
            unsupported.append((start, end))
    return tuple(citations), tuple(unsupported)


def _sentences(passages: Sequence[Passage]) -> list[_Candidate]:
    return [
        _Candidate(passage, passage.start + start, passage.start + end, terms(passage.text[start:end]))
        for passage in passages
        for start, end in sentence_spans(passage.text)
    ]


def _pairs(single: Sequence[_Candidate]) -> list[_Candidate]:
    """Join neighbouring sentences of one passage: an answer may draw on two."""
    return [
        _Candidate(one.passage, one.start, two.end, one.words + two.words)
        for one, two in itertools.pairwise(single)
        if one.passage is two.passage
    ]


def _best(
    said: Sequence[str], asked: Sequence[str], candidates: Sequence[_Candidate], weights: TermWeights
) -> tuple[_Candidate, float] | None:
    """Return the candidate with the most support, and its support; of equals the shorter, then the earlier one."""
    if not said:
        return None
    close = sorted(((coverage(said, one.words, weights), one) for one in candidates), key=lambda pair: -pair[0])
    scored = [
        ((share + common_subsequence(said, one.words, weights)) / 2, coverage(asked, one.words, weights), one)
        for share, one in close[:_CLOSELY]
        if share > 0
    ]
    if not scored:
        return None
    support, _, one = max(scored, key=lambda found: (found[0] + _TIE * found[1], -len(found[2].words)))
    return one, support


def _citation(sentence: Span, candidate: _Candidate, support: float, evidence: Mapping[int, float] | None) -> Citation:
    chunk = candidate.passage.chunk
    return Citation(
        *sentence,
        passage=candidate.passage.number,
        chunk=chunk.id,
        source=chunk.source,
        page=chunk.page,
        heading=chunk.heading,
        source_start=chunk.start + candidate.start,
        source_end=chunk.start + candidate.end,
        quote=chunk.text[candidate.start : candidate.end],
        support=round(support, 4),
        evidence=None if evidence is None else evidence.get(candidate.passage.number),
    )
