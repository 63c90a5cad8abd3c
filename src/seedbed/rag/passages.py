"""Passages that answers are made from, and the sentences of them that support an answer.

Citations link each sentence of an answer to its support: the share of its words, by weight, that one statement of a
passage (or two neighbours) holds, in any order and, for a quarter, in the same order. Words of the question are no
support, so that its echo has none, and decide between equals, as an answer such as "twice" may stand in many places.
Numbers, units, names and each "not" must agree (``agreement.py``). A sentence without support is marked. Not seen: a
true paraphrase in other words is marked too, and a verb of another meaning is not.
:func:`seedbed.rag.scoring.leave_one_out` is a second measure, for models that tell probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from seedbed.chat.messages import FinishReason, Usage
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import Span, sentence_spans
from seedbed.documents.statements import Statement, statements
from seedbed.rag.agreement import Place, disagreement, held, mixes, outdone, told
from seedbed.rag.facts import facts
from seedbed.vectors.words import TermWeights, common_subsequence, coverage, terms

NOT_FOUND = "Not in the documents."
"""The sentence that a model is told to say, and an answer says, when the passages do not tell."""
_SHORT = 12
"""Words. "I am sorry, but that is not in the documents." has 10; a longer line may speak of documents."""
SUPPORTED = 0.4
"""Less support than this marks a sentence as unsupported; chosen on half of the set of `benchmarks/citations.py`."""
_CLOSELY = 20
"""The best candidates, by words in any order, of which the order is compared too."""
_ORDER = 0.25
"""Weight of the words' order in the support."""
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


def statements_of(passages: Sequence[Passage]) -> list[list[tuple[Passage, Statement]]]:
    """Return the statements of each passage, as passages, with what kind of statement each is."""
    return [
        [
            (replace(one, start=one.start + said.span[0], end=one.start + said.span[1]), said)
            for said in statements(one.text)
        ]
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
        question: whose words support nothing by themselves.
        evidence: by the passages' numbers, as ``leave_one_out`` returns it.

    Returns:
        The citations and the spans of the unsupported sentences, each in the order of the answer. A sentence without
        words of its own (a greeting, "---") is in neither.
    """
    candidates = _candidates(passages, frozenset(facts(question).words))
    single = [facts(one.place.text).terms for one in candidates if not one.pair]
    citations, unsupported = [], []
    for start, end in sentence_spans(answer):
        best = _best(answer[start:end], question, candidates, single, threshold)
        if best:
            citations.append(citation((start, end), *best, evidence))
        elif terms(answer[start:end]):
            unsupported.append((start, end))
    return tuple(citations), tuple(unsupported)


@dataclass(frozen=True)
class _Candidate:
    """A statement, or two neighbours (``pair``: their texts), that may support a sentence."""

    part: Passage
    place: Place
    pair: tuple[str, str] | None = None


def _candidates(passages: Sequence[Passage], asked: frozenset[str]) -> list[_Candidate]:
    """Return the statements of passages, then pairs of sentences, since an answer may draw on two."""
    single, pairs = list[_Candidate](), list[_Candidate]()
    for passage, said in zip(passages, statements_of(passages), strict=True):
        made = []
        for part, one in said:
            rows = [other.text for other, two in said if one.kind == "row" and two.block == one.block and other != part]
            before = passage.text[: part.start - passage.start]
            made.append(_Candidate(part, Place(part.text, before, passage.chunk.heading, tuple(rows), asked)))
        single += made
        plain = [kind.kind == "sentence" for _, kind in said]
        for at, (first, second) in enumerate(pairwise(made)):
            if plain[at] and plain[at + 1]:
                both = replace(first.part, end=second.part.end)
                place = Place(both.text, first.place.before, passage.chunk.heading, asked=asked)
                pairs.append(_Candidate(both, place, (first.part.text, second.part.text)))
    return single + pairs


def _best(
    sentence: str, question: str, candidates: Sequence[_Candidate], texts: Sequence[Sequence[str]], threshold: float
) -> tuple[Passage, float] | None:
    """Return the candidate with the most support and no fact against it; of equals the shorter, then the earlier."""
    said, asked = told(sentence), held(sentence, question)
    own = [one for one in said if one not in asked]
    if not own:
        return None
    weights = TermWeights([*texts, said])  # so that a word that no passage has weighs as one that a single one has
    found = [(one, held(sentence, one.place.text, one.place.heading)) for one in candidates]
    shares = ((min(coverage(own, words, weights), coverage(said, words, weights)), one, words) for one, words in found)
    close = sorted(shares, key=lambda row: -row[0])[:_CLOSELY]
    scored = []
    for share, one, words in close:
        support = (1 - _ORDER) * share + _ORDER * common_subsequence(own, words, weights)
        if share > 0 and support >= threshold:
            scored.append((support + _TIE * coverage(asked, words, weights), -len(words), support, one))
    for *_, support, one in sorted(scored, key=lambda row: row[:2], reverse=True):
        torn = mixes(sentence, *one.pair) if one.pair else _is_outdone(sentence, one, candidates)
        if not torn and not disagreement(sentence, one.place):
            return one.part, min(1.0, support)
    return None


def _is_outdone(sentence: str, one: _Candidate, candidates: Sequence[_Candidate]) -> bool:
    others = (two for two in candidates if two.part.number == one.part.number and not two.pair and two != one)
    return any(outdone(sentence, one.place.text, two.place.text) for two in others)


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
