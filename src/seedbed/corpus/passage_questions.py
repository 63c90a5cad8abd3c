"""Questions whose answer stands in a passage, made from a corpus's documents: what a model is taught to read with.

The questions are those that :mod:`seedbed.corpus.questions` makes, where their answer stands word for word in one
passage, and gaps: a sentence with a name, a number or a quotation left out, which the passage holds. Left out:
questions that would need a model to phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from seedbed.corpus.answers import fraction, phrased
from seedbed.corpus.document import CorpusDocument
from seedbed.corpus.questions import QuestionSettings, conversations
from seedbed.documents.document import Chunk, Document
from seedbed.documents.headings import markdown_headings
from seedbed.documents.sentences import sentence_spans
from seedbed.documents.splitting.split import SplitSettings, split

_GAP = (
    "What fills the gap? “{subject}”",
    "Complete from the text: “{subject}”",
    "Which words are missing: “{subject}”?",
)
_NAME = r"[A-Z][\w'’-]+(?: (?:of|the|de|and) [A-Z][\w'’-]+| [A-Z][\w'’-]+)*"
_SPAN = re.compile(rf"(?<=[a-z,;] )(?:{_NAME}|\d[\d.,]*(?: \w+)?|[“\"`][^“”\"`]{{3,40}}[”\"`])")
"""A name or a number within a sentence, or something in quotation marks."""
_SENTENCE = range(50, 300)
PASSAGE = 900
"""Characters of a passage at most."""


@dataclass(frozen=True)
class PassageQuestion:
    """A question, its answer, and the passage that holds it."""

    question: str
    answer: str
    passage: Chunk


def passage_questions(
    document: CorpusDocument, settings: QuestionSettings, *, gaps: bool = True
) -> Iterator[PassageQuestion]:
    """Yield the questions of a document, each with its passage, and gaps; at most ``per_document`` of either."""
    if document.kind == "code":
        return
    headings = tuple(markdown_headings(document.text))
    chunks = split(Document(document.path, document.text, headings=headings), SplitSettings(chunk_size=PASSAGE))
    for conversation in conversations(document, settings):
        first = conversation[0]
        held = next((chunk for chunk in chunks if first.answer in chunk.text), None)
        if held is not None:
            yield PassageQuestion(first.question, first.answer, held)
    made = [gap for chunk in chunks for gap in _gaps(chunk)] if gaps else []
    yield from sorted(made, key=lambda gap: fraction(gap.question))[: settings.per_document]


def _gaps(chunk: Chunk) -> Iterator[PassageQuestion]:
    """Yield, for every fitting sentence, one with a span left out; which one follows from the sentence."""
    for start, end in sentence_spans(chunk.text):
        sentence = " ".join(chunk.text[start:end].split())
        spans = [found.span() for found in _SPAN.finditer(sentence)]
        if len(sentence) not in _SENTENCE or not spans:
            continue
        at, to = spans[int(fraction(sentence) * len(spans))]
        answer = sentence[at:to].strip(' .,“”"`')
        if answer and chunk.text.count(answer) < 3:
            yield PassageQuestion(phrased(_GAP, f"{sentence[:at]}____{sentence[to:]}"), answer, chunk)
