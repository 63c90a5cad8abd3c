"""A model's own sentences in an answer: before the quotation where a passage supports them, else below it.

A sentence is judged when it is whole, while the next is being written. One that asks, or says no more than the question
does, is no answer however well its words stand in a passage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from seedbed.documents.sentences import sentences
from seedbed.rag.chains.cited import own_sentences
from seedbed.rag.passages import Citation, Passage, cite
from seedbed.rag.record import Answer, marked, numbered


class OwnWords:
    """Judges the sentences of a reply.

    Args:
        question: that they answer.
        found: the answer with its quotation alone.
        passages: that may support a sentence.
    """

    def __init__(self, question: str, found: Answer, passages: Sequence[Passage]) -> None:
        self.question, self.found, self.passages = question, found, passages
        self._judged = dict[str, tuple[Citation, ...]]()
        self._settled = ""

    def settle(self, written: str) -> str:
        """Return what the reply so far adds to the answer that is certain: sentences that others follow."""
        return self._next(own_sentences(written)[: len(sentences(written)) - 1])

    def answer(self, answer: Answer, reply: str, evidence: Mapping[int, float] | None = None) -> Answer:
        """Return the answer with the sentences of a whole reply; ``evidence`` as for :func:`cite`."""
        said = own_sentences(reply)
        demoted = tuple(one for one in said if not self._support(one))
        text, citations = self._join(said)
        if not text:
            return replace(answer, demoted=demoted)
        if evidence is not None:
            citations = tuple(replace(one, evidence=evidence.get(one.passage)) for one in citations)
        citations, sources = numbered(self._quotes(), citations)
        return replace(answer, text=text, citations=citations, sources=sources, demoted=demoted)

    def _next(self, said: Sequence[str]) -> str:
        text, citations = self._join(said)
        shown = marked(text, numbered(self._quotes(), citations)[0])
        fresh, self._settled = shown[len(self._settled) :], shown
        return fresh

    def _join(self, said: Sequence[str]) -> tuple[str, tuple[Citation, ...]]:
        """Return the supported sentences as one text, with their citations in it."""
        text, citations = "", list[Citation]()
        for one in said:
            if support := self._support(one):
                text += " " * bool(text)
                citations += (replace(c, start=c.start + len(text), end=c.end + len(text)) for c in support)
                text += one
        return text, tuple(citations)

    def _support(self, sentence: str) -> tuple[Citation, ...]:
        """Return a sentence's citations: none where a part of it has no support."""
        if sentence not in self._judged:
            citations, unsupported = cite(sentence, self.passages, question=self.question)
            self._judged[sentence] = citations if not unsupported and _says(sentence) else ()
        return self._judged[sentence]

    def _quotes(self) -> tuple[Citation, ...]:
        return self.found.citations


def _says(sentence: str) -> bool:
    """Tell whether a sentence can be an answer: no question, no announcement, no listing."""
    return not sentence.rstrip('*_"”’').endswith(("?", ":")) and "```" not in sentence
