"""Parts shared by all questions made from text: a question with its answer, and answers of whole sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.core.files import sha256_text
from seedbed.documents.sentences import sentence_spans

SHORTEST = 20
"""Characters; a shorter answer says nothing (save a call form)."""

_ENDS_WELL = re.compile(r"[.!?…][\"'”’)\]`]*$")
_POINTER = re.compile(r"(?:see|cf\.?|ditto|todo|xxx|deprecated|same as|undocumented)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Pair:
    """A question, its answer, and which kind of question it is."""

    type: str
    question: str
    answer: str


def shortened(text: str, limit: int) -> str:
    """Return whole sentences, fewer than ``limit`` characters, with a full stop; "" where the first is longer."""
    plain = " ".join(text.replace("``", "`").split())
    answer = plain[: max((end for _, end in sentence_spans(plain) if end < limit), default=0)]
    if not answer or _ENDS_WELL.search(answer):
        return answer
    return answer.rstrip(" :;,-") + "."


def is_useful(pair: Pair) -> bool:
    """Return whether the answer says something: not a mere pointer elsewhere, and not only words of the question."""
    if pair.type == "signature":  # it may be short, and made of the question's own words where a call takes nothing
        return True
    if len(pair.answer) < SHORTEST or _POINTER.match(pair.answer):
        return False
    asked = {word.lower() for word in _WORD.findall(pair.question)}
    return any(word.lower() not in asked for word in _WORD.findall(pair.answer) if len(word) > 3)


def fraction(text: str) -> float:
    """Return a number in [0, 1) that follows from the text alone, for choices without a random state."""
    return int(sha256_text(text)[:12], 16) / 16**12


def phrased(forms: Sequence[str], subject: str, **names: str) -> str:
    """Return one of several phrasings, chosen by its subject."""
    return forms[int(fraction(subject) * len(forms))].format(subject=subject, **names)
