"""Right answers: SQuAD's normal form and F1 over words (Rajpurkar et al. 2016); shares with Wilson's interval (1927).

An answer is right where it holds a right one, or shares half of its words with it. Left out: judging by a model.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

RIGHT = 0.5
"""F1 from which an answer counts as right."""


@dataclass(frozen=True)
class Share:
    """A share of questions with Wilson's 95 % interval."""

    value: float
    low: float
    high: float
    count: int


def is_right(answer: str, right: str) -> bool:
    """Tell whether an answer holds the right one, or shares half of its words with it."""
    said, wanted = normal(answer), normal(right)
    return f" {wanted} " in f" {said} " or f1(answer, right) >= RIGHT


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
