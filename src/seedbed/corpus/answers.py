"""What questions made from text share: a question with its answer, sentences, and answers that end where one ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.core.files import sha256_text

SHORTEST = 20
"""Characters; a shorter answer says nothing (save a call form)."""

_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr|vs|etc|cf|e\.g|i\.e|No|Fig|[A-Z]))\.$")
_SENTENCE_END = re.compile(r"[.!?…][\"'”’)\]`]*\s+(?=[\"'“‘(\[`]*[A-Z0-9])")
_ENDS_WELL = re.compile(r"[.!?…][\"'”’)\]`]*$")
_POINTER = re.compile(r"(?:see|cf\.?|ditto|todo|xxx|deprecated|same as|undocumented)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Pair:
    """A question, its answer, and which kind of question it is."""

    type: str
    question: str
    answer: str


def sentences(text: str) -> list[str]:
    """The sentences of a paragraph, white space between words made one space."""
    text = " ".join(text.split())
    found, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        stop = end.start() + 1
        if not _ABBREVIATION.search(text[start:stop]):
            found.append(text[start : end.end()].strip())
            start = end.end()
    return [*found, text[start:]] if text[start:] else found


def shortened(text: str, limit: int) -> str:
    """Whole sentences of a paragraph, at most ``limit`` characters, with a full stop; "" where the first is longer."""
    answer = ""
    for sentence in sentences(text.replace("``", "`")):
        if len(answer) + len(sentence) + 1 > limit:
            break
        answer = f"{answer} {sentence}".strip()
    if not answer or _ENDS_WELL.search(answer):
        return answer
    return answer.rstrip(" :;,-") + "."


def is_useful(pair: Pair) -> bool:
    """Whether the answer says something: not a mere pointer elsewhere, and not only words of the question."""
    if (
        pair.type == "signature"
    ):  # as short as the call is, and made of the words of the question where it takes nothing
        return True
    if len(pair.answer) < SHORTEST or _POINTER.match(pair.answer):
        return False
    asked = {word.lower() for word in _WORD.findall(pair.question)}
    return any(word.lower() not in asked for word in _WORD.findall(pair.answer) if len(word) > 3)


def fraction(text: str) -> float:
    """A number in [0, 1) that follows from the text alone: how choices are made without a random state."""
    return int(sha256_text(text)[:12], 16) / 16**12


def phrased(forms: Sequence[str], subject: str, **names: str) -> str:
    """One of several phrasings, chosen by its subject."""
    return forms[int(fraction(subject) * len(forms))].format(subject=subject, **names)
