"""Extract: the sentence that says most of what is asked, word for word. No model.

Each sentence of each passage is measured by the share of the question's words that it holds, by weight
(``search.term_overlap``); its passage, heading and all, counts a third, because a sentence often says "it" for what
the one before named. It answers with a sentence, never with a phrase of it; a Markdown heading is no answer without the
sentence below it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from seedbed.chat.tracing import Trace, span
from seedbed.documents.document import Chunk
from seedbed.documents.sentences import Span, sentence_spans
from seedbed.rag.chains.asking import NOT_FOUND, Result
from seedbed.rag.passages import Passage, passages_of
from seedbed.search.term_overlap import TermWeights, coverage, terms

_CONTEXT = 0.3
"""Weight of the passage beside its sentence: of 0, 0.3 and 1 the best on XQuAD, by half a percent of its questions."""


def extract(question: str, chunks: Sequence[Chunk], *, sentences: int = 1, trace: Trace | None = None) -> Result:
    """The ``sentences`` best sentences, the best first; ``shown`` are they, as spans of their chunks."""
    with span(trace, "chain", "extract", passages=len(chunks)):
        best = best_sentences(question, chunks)[:sentences]
        text = " ".join(" ".join(one.text.lstrip("# ").split()) for one, _ in best)  # without the page's own marks
        return Result(text or NOT_FOUND, tuple(one for one, _ in best))


def best_sentences(question: str, chunks: Sequence[Chunk]) -> list[tuple[Passage, float]]:
    """Every sentence with its measure (0 to 1.3), the best first; among equals the earlier one, without a heading."""
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
