"""Passages that answers are made from, and the sentences of them that support an answer.

Citations link each sentence of an answer to its support: the share of its words, by weight, that one sentence of a
passage (or two neighbours) holds, the mean of a share in any order and one in the same order. Words of the question
decide only between equals, as an answer such as "twice" may stand in many places. A sentence without enough support is
marked. Not seen: a true paraphrase in other words is marked too, and a sentence that negates a passage is not.
:func:`seedbed.rag.scoring.leave_one_out` is a second measure, for models that tell probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise

from seedbed.chat.messages import FinishReason, Usage
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import Span, sentence_spans
from seedbed.vectors.words import TermWeights, common_subsequence, coverage, terms

NOT_FOUND = "Not in the documents."
"""The sentence that a model is told to say, and an answer says, when the passages do not tell."""
_SHORT = 12
"""Words. "I am sorry, but that is not in the documents." has 10; a longer line may speak of documents."""
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
class Passage:
    """The part of a chunk that a model is shown: ``chunk.text[start:end]``.

    Attributes:
        number: the chunk's place among the chunks of its question, from 1; answers and citations name it.
    """

    number: int
    chunk: Chunk
    start: int
    end: int

    @property
    def text(self) -> str:
        """The shown text."""
        return self.chunk.text[self.start : self.end]


@dataclass(frozen=True)
class ChainResult:
    """The answer of a chain.

    Attributes:
        text: as the model wrote it.
        shown: the passages that a model read, or those the answer was made from, the best first.
        left: passages, and parts of passages, that no prompt had room for.
        calls: of the model.
        finish: why its last reply ended.
    """

    text: str
    shown: tuple[Passage, ...]
    left: tuple[Passage, ...] = ()
    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    finish: FinishReason = "stop"


def is_refusal(text: str) -> bool:
    """Tell whether a reply says that the passages do not tell: it is empty, or has NOT_FOUND in a short first line."""
    first = text.strip().partition("\n")[0].casefold()
    return not first or (NOT_FOUND.rstrip(".").casefold() in first and len(first.split()) <= _SHORT)


def passages_of(chunks: Sequence[Chunk]) -> list[Passage]:
    """Return whole chunks as passages, numbered in order."""
    return [Passage(number, chunk, 0, len(chunk.text)) for number, chunk in enumerate(chunks, 1)]


def sentences_of(
    passages: Sequence[Passage], spans: Callable[[str], Iterable[Span]] = sentence_spans
) -> list[list[Passage]]:
    """Return the sentences of each passage, as passages."""
    return [
        [replace(one, start=one.start + start, end=one.start + end) for start, end in spans(one.text)]
        for one in passages
    ]


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
        number: of its place among the sources of an answer, from 1; 0 before an answer is made.
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
    number: int = 0


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
    each, asked = sentences_of(passages), terms(question)
    single = list(chain.from_iterable(each))
    pairs = [replace(one, end=two.end) for some in each for one, two in pairwise(some)]  # an answer may draw on two
    candidates = [(one, terms(one.text)) for one in (*single, *pairs)]
    weights = TermWeights(words for _, words in candidates[: len(single)])
    citations, unsupported = [], []
    for start, end in sentence_spans(answer):
        said = terms(answer[start:end])
        best = _best(said, asked, candidates, weights)
        if best and best[1] >= threshold:
            citations.append(citation((start, end), *best, evidence))
        elif said:
            unsupported.append((start, end))
    return tuple(citations), tuple(unsupported)


def _best(
    said: Sequence[str], asked: Sequence[str], candidates: Sequence[tuple[Passage, list[str]]], weights: TermWeights
) -> tuple[Passage, float] | None:
    """Return the candidate with the most support, and its support; of equals the shorter, then the earlier one."""
    if not said:
        return None
    shares = ((coverage(said, words, weights), one, words) for one, words in candidates)
    close = sorted(shares, key=lambda found: -found[0])[:_CLOSELY]
    scored = [
        ((share + common_subsequence(said, words, weights)) / 2, coverage(asked, words, weights), -len(words), one)
        for share, one, words in close
        if share > 0
    ]
    if not scored:
        return None
    support, _, _, best = max(scored, key=lambda found: (found[0] + _TIE * found[1], found[2]))
    return best, support


def citation(sentence: Span, best: Passage, support: float, evidence: Mapping[int, float] | None) -> Citation:
    """Return the citation of a sentence of an answer, given its span and the part of a passage that supports it."""
    chunk = best.chunk
    return Citation(
        *sentence,
        passage=best.number,
        chunk=chunk.id,
        source=chunk.source,
        page=chunk.page,
        heading=chunk.heading,
        source_start=chunk.start + best.start,
        source_end=chunk.start + best.end,
        quote=best.text,
        support=round(support, 4),
        evidence=None if evidence is None else evidence.get(best.number),
    )
