"""Bigram models of the letters of about forty languages.

``letter_profiles.json`` holds for each language its letters and its most frequent bigrams by the bits (-log2) of their
share, ``_`` for the end of a word; ``benchmarks/letter_profiles.py`` made it from the counts of the langdetect project
(Apache License 2.0), Serbian as Croatian in Cyrillic letters, Icelandic from a text of our own.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources

_BACKOFF, _NO_PAIR = 3.0, 5.0
_ACCENTED, _UNKNOWN, _OTHER_SCRIPT = 12.0, 14.0, 22.0
"""Bits of a letter that a language lacks: its own with an accent, another of its script, one of another script."""
_CEDILLAS = str.maketrans("șț", "şţ")  # Romanian is printed with commas, and was typed with cedillas


@dataclass(frozen=True)
class LetterProfile:
    """The bits of a language's letters and bigrams, by text."""

    bits: Mapping[str, float]
    script: str
    _known: dict[tuple[str, str], float] = field(default_factory=dict, compare=False)

    def cost(self, pairs: Counter[tuple[str, str]]) -> float:
        """Return the bits of the second letter of each pair after its first, " " standing for what is no letter."""
        return sum(count * self._pair(*pair) for pair, count in pairs.items())

    def _pair(self, before: str, letter: str) -> float:
        found = self._known.get((before, letter))
        if found is None:
            found = self._known[before, letter] = self._new_pair(before, letter)
        return found

    def _new_pair(self, before: str, letter: str) -> float:
        if before == letter == " ":
            return 1.0
        together, first = self.bits.get(before + letter), self.bits.get(before)
        if together is not None and first is not None:
            return max(0.5, together - first)
        if letter in self.bits:
            return self.bits[letter] + (_BACKOFF if before in self.bits else 0.0)
        if letter == " ":
            return _NO_PAIR
        if script(letter) != self.script:
            return _OTHER_SCRIPT
        return _ACCENTED if unicodedata.normalize("NFD", letter)[0] in self.bits else _UNKNOWN


def folded(text: str) -> str:
    """Return the text in small letters with a space for every other character, of the same length."""
    return "".join(map(_folded, text))


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    if character == "\ufffd":
        return character
    if unicodedata.category(character)[0] not in "LM" or character in "ªºˆ":
        return " "
    small = character.lower()
    return (small if len(small) == 1 else small[0]).translate(_CEDILLAS)


@lru_cache(maxsize=4096)
def script(letter: str) -> str:
    """Return the script of a letter: "LATIN", "GREEK" …"""
    return unicodedata.name(letter, "NONE").partition(" ")[0]


@cache
def profiles() -> dict[str, LetterProfile]:
    """Return the profile of each language, by its code in ISO 639-1."""
    text = resources.files("seedbed.documents").joinpath("letter_profiles.json").read_text(encoding="utf-8")
    return {language: _profile(rows) for language, rows in json.loads(text).items()}


def _profile(rows: dict[str, str]) -> LetterProfile:
    bits = {gram.replace("_", " "): float(cost) for cost, grams in rows.items() for gram in grams.split()}
    starts = sum(2**-cost for gram, cost in bits.items() if gram[0] == " ")
    commonest = min((gram for gram in bits if len(gram) == 1), key=lambda letter: bits[letter])
    return LetterProfile({**bits, " ": -math.log2(starts)}, script(commonest))
