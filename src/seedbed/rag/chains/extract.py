"""Extract: answer with the sentence that holds most of the question's words, word for word. No model.

Each sentence of each passage is scored by the share of the question's words that it holds, by weight
(``vectors.tfidf``); its passage, with the heading, counts a third, because a sentence often says "it" for a thing
that the sentence before named. The answer is a whole sentence; a Markdown heading is no answer without the sentence
below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seedbed.chat.tracing import Trace, span
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import Span, sentence_spans
from seedbed.rag.passages import NOT_FOUND, ChainResult, Passage, passages_of
from seedbed.vectors.tfidf import TermWeights, coverage, terms

_CONTEXT = 0.3
"""Weight of the passage beside its sentence: of 0, 0.3 and 1 the best on XQuAD, by half a percent of its questions."""


def extract(question: str, chunks: Sequence[Chunk], *, sentences: int = 1, trace: Trace | None = None) -> ChainResult:
    """Answer with the ``sentences`` best sentences, best first; ``shown`` are these, as spans of their chunks."""
    with span(trace, "chain", "extract", passages=len(chunks)):
        best = best_sentences(question, chunks)[:sentences]
        text = " ".join(" ".join(one.text.lstrip("# ").split()) for one, _ in best)  # without Markdown's marks
        return ChainResult(text or NOT_FOUND, tuple(one for one, _ in best))


def best_sentences(question: str, chunks: Sequence[Chunk]) -> list[tuple[Passage, float]]:
    """Return every sentence with its score (0 to 1.3), best first; of equals the earlier one, without a heading."""
    found = [
        Passage(whole.number, whole.chunk, start, end)
        for whole in passages_of(chunks)
        for start, end in _spans(whole.text)
    ]
    words = [terms(one.text) for one in found]
    weights, wanted = TermWeights(words), terms(question)
    passages = {
        number: coverage(wanted, terms(f"{chunk.heading} {chunk.text}"), weights)
        for number, chunk in enumerate(chunks, 1)
    }
    scored = [
        (one, coverage(wanted, said, weights) + _CONTEXT * passages[one.number])
        for one, said in zip(found, words, strict=True)
    ]
    return sorted(scored, key=lambda pair: (-pair[1], pair[0].text.startswith("#")))


def _spans(text: str) -> Iterator[Span]:
    spans = sentence_spans(text)
    for (start, end), (_, below) in zip(spans, [*spans[1:], (0, 0)], strict=True):
        yield start, max(end, below) if text[start] == "#" else end
