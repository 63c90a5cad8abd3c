"""Choose the sentences that answer a question, and tell whether the passages answer it at all. No model writes here.

Each sentence is judged three times: alone, with the sentence before it (which often names what "it" is), and with its
whole passage and the heading. Each time by words, as the share of the question's words by weight (``vectors.words``),
and, where an embedder is given, by meaning, as the cosine of the question's vector with the sentences'. The score is
the mean of these six numbers (of three without an embedder); nothing is weighed or fitted but the two thresholds.
The best sentence's score is the evidence that the passages tell, less where many passages of the collection are equally
near.

Cosines of different embedders lie in different ranges (unrelated texts have 0.03 with one, 0.75 with another), so each
is measured from the question's mean cosine with a few sentences about nothing in particular. Only sentences are
embedded: the vector of several is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from seedbed.chat.tracing import Trace, span
from seedbed.documents.document import Chunk
from seedbed.documents.statements import Statement
from seedbed.rag.passages import NOT_FOUND, ChainResult, Passage, passages_of, statements_of
from seedbed.search.contracts import Embedder
from seedbed.vectors.lsa import Vectors, unit
from seedbed.vectors.words import TermWeights, coverage, terms

FOUND, FOUND_BY_WORDS = 0.38, 0.29
"""Less evidence than this means "not in the documents", with an embedder and without one.

Chosen on half of adversarial QA's questions, by an earlier form of `python benchmarks/sentences.py`, which would now
choose 0.36 and 0.34; docs/log.md has the figures on other sets.
"""
STANDING, STANDING_WEIGHT = 0.2, 0.5
"""The usual :data:`Standing` of a question that documents answer, and the weight of what is less than that.

Chosen on half of FairytaleQA's stories; docs/log.md has the other half.
"""
Standing = Callable[[str], float | None]
"""A function from a question to its cosine with the nearest passage of a collection, less that with the twentieth.

Questions of other tales find many passages that are equally near ("the king"), others one that stands out. None where
that cannot be told.
"""
CLOSE = 0.05
"""A second sentence is quoted too if its score is at most so far below the best one's.

Picked from 0 to 0.08 with figures of all the sets of docs/log.md in sight, as was the plain mean of the score.
"""
_OF_CODE = 0.5
"""Share of the question's words, by weight, that a line of code must hold to be quoted."""
_UNRELATED = (
    "The train was late again this morning.",
    "Add two spoons of sugar and stir.",
    "Please sign the form and return it by post.",
    "She painted the fence last summer.",
    "The meeting has been moved to another room.",
    "Rain is expected in the north.",
    "He lost his keys somewhere in the park.",
    "The shop closes at six.",
)


def evidence_of(rated: Sequence[RatedSentence], standing: float | None) -> float:
    """Return how well passages answer: the best sentence's score, less where no passage stands out."""
    if not rated:
        return 0.0
    lacking = 0.0 if standing is None else max(0.0, STANDING - standing)
    return round(max(0.0, rated[0].score - STANDING_WEIGHT * lacking), 4)


@dataclass(frozen=True)
class RatedSentence:
    """A sentence of a passage, and how well it answers: 0 to 1."""

    sentence: Passage
    score: float


def extract(rated: Sequence[RatedSentence], *, trace: Trace | None = None) -> ChainResult:
    """Answer with the best sentence, and a second one close to it; ``shown`` are these, as spans of their chunks."""
    with span(trace, "chain", "extract", sentences=len(rated)):
        best = [one.sentence for one in rated[:1]]
        others = (one.sentence for one in rated if one.score >= rated[0].score - CLOSE)
        best += [one for one in others if not _repeats(one, best[0])][:1]
        text = " ".join(" ".join(one.text.lstrip("# ").split()) for one in best)  # without Markdown's marks
        return ChainResult(text or NOT_FOUND, tuple(best))


def rate_sentences(question: str, chunks: Sequence[Chunk], embedder: Embedder | None = None) -> list[RatedSentence]:
    """Return every sentence of the chunks with its score, best first; of equals the earlier one, without a heading.

    Args:
        embedder: of sentences; None to judge by words alone.
    """
    found = statements_of(passages_of(chunks))
    if not any(found):
        return []
    passages = [[part for part, _ in some] for some in found]
    headings = [chunk.heading for chunk in chunks]
    scores = _by_words(question, passages, headings)
    if embedder is not None:
        scores = np.mean([scores, _by_meaning(question, passages, embedder)], axis=0, dtype=np.float32)
    scores *= _can_answer(question, found)
    rated = [
        RatedSentence(part, round(float(score), 4))
        for (part, _), score in zip(chain.from_iterable(found), scores, strict=True)
    ]
    return sorted(rated, key=lambda one: -one.score)


def _by_words(question: str, passages: Sequence[Sequence[Passage]], headings: Sequence[str]) -> Vectors:
    """Return the mean share of the question's words for each sentence."""
    said = [[terms(one.text) for one in some] for some in passages]
    weights, wanted = TermWeights({tuple(words) for some in said for words in some}), terms(question)  # each text once
    scores = []
    for some, heading in zip(said, headings, strict=True):
        whole = coverage(wanted, {*terms(heading), *(word for words in some for word in words)}, weights)
        for before, words in zip([[], *some], some, strict=False):
            scores.append((coverage(wanted, words, weights) + coverage(wanted, before + words, weights) + whole) / 3)
    return np.array(scores, np.float32)


def _by_meaning(question: str, passages: Sequence[Sequence[Passage]], embedder: Embedder) -> Vectors:
    """Return the mean cosine of the question with each sentence, above that with unrelated ones; 0 at least."""
    asked = embedder.embed_query(question)
    texts = [one.text for some in passages for one in some]
    vectors = embedder.embed_documents([*texts, *_UNRELATED])
    cosines, at = [], 0
    for count in map(len, passages):
        alone = vectors[at : at + count]
        before = np.concatenate([np.zeros_like(alone[:1]), alone[:-1]])
        whole = np.repeat(alone.sum(0, keepdims=True), count, axis=0)
        cosines.append(sum(unit(some) @ asked for some in (alone, alone + before, whole)) / 3)
        at += count
    usual = float((vectors[at:] @ asked).mean())
    return np.asarray(np.clip((np.concatenate(cosines) - usual) / (1 - usual), 0, 1), np.float32)


def _repeats(one: Passage, other: Passage) -> bool:
    """Tell whether a passage's words stand in another, or it shares text of its source: a heading's sentence."""
    said, there = (f" {' '.join(terms(passage.text))} " for passage in (one, other))
    if said in there:
        return True
    (_, end), (start, _) = sorted((part.chunk.start + part.start, part.chunk.start + part.end) for part in (one, other))
    return one.chunk.source == other.chunk.source and start < end


def _can_answer(question: str, passages: Sequence[Sequence[tuple[Passage, Statement]]]) -> Vectors:
    """Return 1 for each statement that can be an answer, else 0.

    A heading is none where something stands below it, nor a table's first row. Code must hold half of the question's
    words, by weight, in its own line.
    """
    texts = {part.text for some in passages for part, _ in some}
    asked, weights = terms(question), TermWeights(map(terms, texts))
    found = []
    for some in passages:
        for (part, said), (_, below) in zip(some, [*some[1:], (None, None)], strict=True):
            if said.kind == "heading":
                found.append(below is None or below.kind == "heading")
            elif said.kind == "code":
                found.append(coverage(asked, terms(part.text), weights) >= _OF_CODE)
            else:
                found.append(True)
    return np.array(found, np.float32)
