"""Conversations about passages: a prompt as `ask` sends it, then more questions about the same passages.

Reading the passages is most of a step's cost, so questions with one passage share it, and questions that it does not
answer stand beside those that it does: the same words must be told apart. Everything follows from the texts alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from seedbed.corpus.answers import fraction
from seedbed.corpus.passage_questions import PassageQuestion
from seedbed.documents.document import Chunk
from seedbed.rag.passages import NOT_FOUND
from seedbed.vectors.words import terms

_NEIGHBOURS = 50
"""Strange questions and further passages are taken from so many next groups, so that a long set stays quick."""


@dataclass(frozen=True)
class ReadingMix:
    """Shares of what a conversation holds; the fields are those of the stage "reading"."""

    wrong: float
    several: float
    passages: int
    questions: int


@dataclass(frozen=True)
class ReadingTurns:
    """Passages, and questions about them with their replies."""

    shown: tuple[Chunk, ...]
    turns: tuple[tuple[str, str], ...]


def reading_turns(asked: Sequence[PassageQuestion], mix: ReadingMix) -> Iterator[ReadingTurns]:
    """Yield every question once with its passage; strange ones are added until ``wrong`` of all are refused."""
    groups = list(_groups(asked, mix.questions))
    words = {one.question: frozenset(terms(one.question)) for one in asked}
    for place, group in enumerate(groups):
        near = [groups[(place + step) % len(groups)] for step in range(1, min(_NEIGHBOURS, len(groups)))]
        shown = _shown(group, [other[0].passage for other in near], mix)
        told = " ".join(chunk.text for chunk in shown).lower()
        strangers = [one for other in near for one in other if one.answer.lower() not in told]
        turns = [(one.question, one.answer) for one in group]
        for one in group:
            rate = mix.wrong / (1 - mix.wrong)
            for _ in range(int(rate + fraction(f"strange\0{one.question}"))):
                if strangers:
                    turns.append((_stranger(strangers, one.question, told, words), NOT_FOUND))
        turns.sort(key=lambda turn: fraction(f"{turn[0]}\0{told}"))
        yield ReadingTurns(shown, tuple(turns))


def _groups(asked: Sequence[PassageQuestion], most: int) -> Iterator[list[PassageQuestion]]:
    """Yield the questions of each passage, at most so many together."""
    by_passage: dict[str, list[PassageQuestion]] = defaultdict(list)
    for one in asked:
        by_passage[one.passage.text].append(one)
    for questions in by_passage.values():
        for at in range(0, len(questions), most):
            yield questions[at : at + most]


def _shown(group: Sequence[PassageQuestion], others: Sequence[Chunk], mix: ReadingMix) -> tuple[Chunk, ...]:
    """Return the passage, for a share of the prompts among others that do not hold the answers."""
    passage, key = group[0].passage, f"{group[0].question}\0{group[0].passage.text}"
    if fraction(key) >= mix.several or mix.passages < 2:
        return (passage,)
    more = 1 + int(fraction(f"more\0{key}") * (mix.passages - 1))
    silent = [chunk for chunk in others if not any(one.answer.lower() in chunk.text.lower() for one in group)]
    chunks = [passage, *silent[:more]]
    turn = int(fraction(f"turn\0{key}") * len(chunks))
    return tuple(chunks[turn:] + chunks[:turn])


def _stranger(strangers: list[PassageQuestion], key: str, told: str, words: Mapping[str, frozenset[str]]) -> str:
    """Take a strange question: half of the time any, else the one that shares most words with the passages."""
    at = int(fraction(f"any\0{key}") * len(strangers))
    if fraction(f"close\0{key}") < 0.5:
        here = set(terms(told))
        shared = [len(here & words[one.question]) for one in strangers]
        at = shared.index(max(shared))
    return strangers.pop(at).question
