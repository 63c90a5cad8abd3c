"""Golden questions, put to several ways of answering side by side: what does each buy?

All contenders get the same questions, in rounds: where the time is up, all of them were asked the same fewer. Questions
of a round are asked together, as a server's are; the first one alone, and its seconds are those of an answer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import zip_longest

from seedbed.core.errors import CapacityError
from seedbed.core.progress import progress
from seedbed.evaluation.golden_questions import Golden
from seedbed.evaluation.right_answers import Share, f1, is_right, share
from seedbed.rag.passages import is_refusal

_ROUND, EXAMPLES = 9, 3
TOGETHER = 8
"""Questions asked at once: any number of threads may call a contender."""


@dataclass(frozen=True)
class Contender:
    """A way of answering: its name, the function that answers, bits per byte on held-out text, bytes of memory."""

    name: str
    answer: Callable[[str], str]
    bits_per_byte: float | None = None
    memory: float = 0.0


@dataclass(frozen=True)
class Bought:
    """The result of one contender.

    Attributes:
        right: share of the answerable questions answered rightly; a refusal is wrong.
        f1: the mean over them of F1 over words, which a sentence around the answer lowers.
        refused: share of the others where it was said that the documents do not tell.
        seconds: the median of answers asked alone.
        too_long: questions longer than the model's window, counted as wrong.
        examples: questions with the right answer and its own.
    """

    name: str
    right: Share
    f1: float
    refused: Share
    seconds: float
    bits_per_byte: float | None
    memory: float
    too_long: int
    examples: tuple[tuple[str, str, str], ...]


@dataclass
class _Tally:
    right: list[bool] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    refused: list[bool] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    too_long: int = 0
    shown: list[tuple[str, str, str]] = field(default_factory=list)

    def ask(self, contender: Contender, questions: Sequence[Golden]) -> None:
        """Put a round's questions: the first alone, the others together."""
        began = time.perf_counter()
        answers = [_answer(contender, questions[0])]
        self.alone.append(time.perf_counter() - began)
        with ThreadPoolExecutor(TOGETHER) as pool:
            answers += pool.map(lambda golden: _answer(contender, golden), questions[1:])
        for golden, answer in zip(questions, answers, strict=True):
            self.too_long += answer is None
            self._note(golden, answer or "")

    def _note(self, golden: Golden, answer: str) -> None:
        if golden.answer:
            forms = (golden.answer, *golden.also)
            self.right.append(any(is_right(answer, form) for form in forms))
            self.scores.append(max(f1(answer, form) for form in forms))
            self.shown.append((golden.question, golden.answer, answer))
        else:
            self.refused.append(bool(answer.strip()) and is_refusal(answer))  # silence is no refusal

    def result(self, contender: Contender) -> Bought:
        """Return what is known of the contender."""
        seconds = statistics.median(self.alone) if self.alone else 0.0
        return Bought(
            contender.name,
            right=share(self.right),
            f1=statistics.fmean(self.scores) if self.scores else 0.0,
            refused=share(self.refused),
            seconds=seconds,
            bits_per_byte=contender.bits_per_byte,
            memory=contender.memory,
            too_long=self.too_long,
            examples=tuple(self.shown[:EXAMPLES]),
        )


def compare(contenders: Sequence[Contender], questions: Sequence[Golden], seconds: float | None = None) -> list[Bought]:
    """Put the same questions to all contenders, round after round, until all are asked or no round fits the time.

    Args:
        questions: those with an answer and those without one take turns.
        seconds: for all together; the first round is always asked.
    """
    began, longest = time.perf_counter(), 0.0
    tallies, asked = [_Tally() for _ in contenders], _mixed(questions)
    with progress("golden questions", len(asked), "questions") as bar:
        for at in range(0, len(asked), _ROUND):
            before = time.perf_counter()
            if seconds is not None and at and before - began + longest > seconds:
                break
            for tally, contender in zip(tallies, contenders, strict=True):
                tally.ask(contender, asked[at : at + _ROUND])
            bar.advance(len(asked[at : at + _ROUND]))
            longest = max(longest, time.perf_counter() - before)
    return [tally.result(contender) for tally, contender in zip(tallies, contenders, strict=True)]


def _answer(contender: Contender, golden: Golden) -> str | None:
    """Return the answer; None where the question is longer than the model's window."""
    try:
        return contender.answer(golden.question)
    except CapacityError:
        return None


def _mixed(questions: Sequence[Golden]) -> list[Golden]:
    """Return the questions in an order in which every part has its share of those without an answer."""
    told, untold = ([one for one in questions if bool(one.answer) is has] for has in (True, False))
    step = max(1, round(len(told) / len(untold))) if untold else len(told) or 1
    parts = [told[at : at + step] for at in range(0, len(told), step)]
    return [one for part, other in zip_longest(parts, untold) for one in [*(part or ()), *([other] if other else [])]]
