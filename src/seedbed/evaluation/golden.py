"""Golden questions from held-out text, put to several ways of answering: what does each buy?

The questions are made from the corpus's test split, which no model was trained on, so their answers stand in the
documents; beside them stand questions about invented things, whose right answer is that the documents do not tell.
An answer is right where it holds the right one, or shares half of its words with it (SQuAD's F1, Rajpurkar et al.
2016). Shares come with Wilson's 95 % interval (1927). Left out: judging by another model.
"""

from __future__ import annotations

import math
import re
import string
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from seedbed.core.artifacts import Artifact
from seedbed.core.errors import CapacityError
from seedbed.core.progress import track
from seedbed.corpus.answers import fraction
from seedbed.corpus.document import Split
from seedbed.corpus.passage_questions import passage_questions
from seedbed.corpus.questions import QuestionSettings
from seedbed.corpus.store import Corpus
from seedbed.rag.passages import is_refusal

_RIGHT = 0.5
"""F1 from which an answer counts as right."""
INVENTED = (
    "In which year was the Orsomund bridge opened?",
    "Who wrote the third volume of the Veldtgard chronicle?",
    "What does the Quillan protocol say about lantern oil?",
    "How many islands belong to the Tharne archipelago?",
    "Which river flows through the town of Emberlow?",
    "What is the capital of the duchy of Savrenne?",
    "How tall is the Mirrowick lighthouse?",
    "Who discovered the mineral belvanite?",
    "What colour is the flag of the Ostrand league?",
    "When did the siege of Karrowfell end?",
    "Which instrument did Ysolde Marrable play?",
    "How long is the Pellingore tunnel?",
)
"""Questions about things that do not exist: no document tells."""


@dataclass(frozen=True)
class Golden:
    """A question with its right answer; "" where the documents do not tell."""

    question: str
    answer: str


@dataclass(frozen=True)
class Contender:
    """A way of answering: its name, the function that answers, bits per byte on held-out text and bytes of weights."""

    name: str
    answer: Callable[[str], str]
    bits_per_byte: float | None = None
    weights: int = 0


@dataclass(frozen=True)
class Share:
    """A share of questions with Wilson's 95 % interval."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Bought:
    """The result of one contender: shares of right answers and of right refusals, seconds an answer."""

    name: str
    right: Share
    refused: Share
    seconds: float
    bits_per_byte: float | None
    weights: int
    examples: tuple[tuple[str, str, str], ...]  # question, right answer, answer


def golden_questions(corpus: Artifact, count: int, split: Split = "test") -> list[Golden]:
    """Return questions made from a split, at most ``count``, chosen by hash, and those about invented things."""
    opened, settings = Corpus.open(corpus), QuestionSettings(per_document=20)
    chosen: dict[str, str] = {}
    # Gaps only where there are too few others: such a question is nearly its own passage, and easy to find.
    for gaps in (False, True):
        made = {
            one.question: one.answer
            for document in opened.documents(split)
            for one in passage_questions(document, settings, gaps=gaps)
        }
        more = sorted(made.keys() - chosen.keys(), key=fraction)[: count - len(chosen)]
        chosen |= {question: made[question] for question in more}
    return [*(Golden(*pair) for pair in chosen.items()), *(Golden(one, "") for one in INVENTED)]


def judge(contender: Contender, questions: Sequence[Golden], examples: int = 3) -> Bought:
    """Put all questions to a contender."""
    right: list[bool] = []
    refused: list[bool] = []
    shown: list[tuple[str, str, str]] = []
    started = time.perf_counter()
    for golden in track(questions, contender.name, len(questions), "questions"):
        try:
            answer = contender.answer(golden.question)
        except CapacityError:  # the question is longer than the model's window
            answer = ""
        if golden.answer:
            right.append(is_right(answer, golden.answer))
            shown.append((golden.question, golden.answer, answer))
        else:
            refused.append(bool(answer.strip()) and is_refusal(answer))  # silence is no refusal
    seconds = (time.perf_counter() - started) / max(1, len(questions))
    kept = tuple(shown[:examples])
    return Bought(
        contender.name, share(right), share(refused), seconds, contender.bits_per_byte, contender.weights, kept
    )


def is_right(answer: str, right: str) -> bool:
    """Tell whether an answer holds the right one, or shares half of its words with it."""
    said, wanted = normal(answer), normal(right)
    return f" {wanted} " in f" {said} " or f1(answer, right) >= _RIGHT


def f1(answer: str, right: str) -> float:
    """Return the harmonic mean of precision and recall over words, as SQuAD's script counts them."""
    said, wanted = normal(answer).split(), normal(right).split()
    if not said or not wanted:
        return float(said == wanted)
    return 2 * sum((Counter(said) & Counter(wanted)).values()) / (len(said) + len(wanted))


def normal(text: str) -> str:
    """SQuAD's normal form: lower case, no punctuation, no articles."""
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def share(outcomes: Iterable[bool]) -> Share:
    """Return the share that is true, with Wilson's 95 % interval."""
    values = list(outcomes)
    n, z = len(values), 1.959964
    if not n:
        return Share(0.0, 0.0, 1.0, 0)
    p = sum(values) / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return Share(p, max(0.0, middle - half), min(1.0, middle + half), n)
