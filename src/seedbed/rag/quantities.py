"""Numbers of a text with their units, whatever way they are written in.

Read are figures with separators of both styles ("12,000", "12.000", "12 000"), words ("twenty-seven", "half a dozen"),
ordinals, clock times, dates (2024-03-12 has a month's name too), signs, and "12k" or "1.5 million". A spelling that can
be read in two ways ("12.000") has both values. Left out: Roman and Chinese numerals, and "one" without a unit, which
is a pronoun more often than a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import isclose
from unicodedata import normalize

from seedbed.documents.sentences import Span
from seedbed.rag.units import Unit, unit_of

_SMALL_TEXT = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen
"""
_SMALL = _SMALL_TEXT.split()
_TENS_TEXT = """
twenty thirty forty fifty sixty seventy eighty ninety
"""
_TENS = _TENS_TEXT.split()
_ORDINALS_TEXT = """
third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth
seventeenth eighteenth nineteenth
"""
_ORDINALS = _ORDINALS_TEXT.split()
NUMBER_WORDS: dict[str, float] = {
    **{word: float(value) for value, word in enumerate(_SMALL)},
    **{word: 10.0 * value for value, word in enumerate(_TENS, 2)},
    **{word: float(value) for value, word in enumerate(_ORDINALS, 3)},
    **{f"{word[:-1]}ieth": 10.0 * value for value, word in enumerate(_TENS, 2)},
    "second": 2.0,
    "twice": 2.0,
    "double": 2.0,
    "thrice": 3.0,
    "triple": 3.0,
    "half": 0.5,
}
_SCALES = {"hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "dozen": 12.0}
_SCALES |= {f"{word}s": value for word, value in _SCALES.items()} | {"bn": 1e9, "mn": 1e6, "k": 1e3}
_MONTHS_TEXT = """
january february march april may june july august september october november december
"""
MONTHS = frozenset(_MONTHS_TEXT.split())
_CURRENCIES = "€$£¥₹"
_SPACES = " \u00a0\u202f\u2009"
_FIGURE = rf"\d{{1,3}}(?:[{_SPACES}]\d{{3}})+(?!\d)(?:[.,]\d+)?|\d+(?:[.,'’]\d+)*"
_TOKEN = re.compile(rf"[^\W\d_²³]+\d\w*|{_FIGURE}|[^\W\d_²³]+|[{_CURRENCIES}%‰°℃℉²³/:−.,;()-]")
_HOURS: frozenset[Unit] = frozenset({("clock", 1.0)})
_ISO = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)\b")
_CLOCK = re.compile(
    rf"(?<![\d.,:])([01]?\d|2[0-4])[:.]([0-5]\d)(?![\d:])(\s*(?:[ap]\.?m\b\.?))?|\b(\d{{1,2}}|{'|'.join(_SMALL[1:13])})\s*(?:([ap]\.?m\b\.?)|o['’]clock)",
    re.I,
)


@dataclass(frozen=True)
class Quantity:
    """A number of a text.

    Attributes:
        values: it can be read as.
        units: it can be of; empty without one.
        noun: the word after it, where that is no unit; else empty.
        span: in the text, in characters, with its unit.
    """

    values: frozenset[float]
    units: frozenset[Unit]
    noun: str
    span: Span

    @property
    def measures(self) -> set[tuple[str, float]]:
        """Its values in base units, by dimension."""
        return {(dimension, factor * one) for dimension, factor in self.units for one in self.values}

    def agrees(self, other: Quantity) -> bool:
        """Tell whether two can be the same; one without a unit agrees with any unit, unless it counts something."""
        if self.units and other.units:
            pairs = product(self.measures, other.measures)
            same = any(one[0] == two[0] and isclose(one[1], two[1], rel_tol=1e-6) for one, two in pairs)
            return same or (not self.units.isdisjoint(other.units) and self._rounds(other))
        if (self if other.units else other).noun and (self.units or other.units):
            return False
        bare = product(self._bare, other._bare)
        return self._rounds(other) or any(isclose(one, two, rel_tol=1e-9) for one, two in bare)

    @property
    def _bare(self) -> set[float]:
        """Its values without a unit: an hour of the afternoon is also one of twelve."""
        return {*self.values, *(one - 12 for one in self.values if self.units == _HOURS and one > 12)}

    def _rounds(self, other: Quantity) -> bool:
        """Tell whether it is the other, which has more decimal places, rounded: 19 for 19.31."""
        pairs = [(mine, theirs) for mine, theirs in product(self.values, other.values) if theirs % 1]
        return any(mine == round(theirs, places) for mine, theirs in pairs for places in (0, 1) if mine)


def quantities(text: str) -> list[Quantity]:
    """Return the numbers of a text, in order."""
    text = normalize("NFC", text)
    clock = list(_CLOCK.finditer(text))
    clock = [one for one in clock if one[3] or one[4] or ":" in one[0]]
    for one in clock:
        text = text[: one.start()] + ";" * len(one[0]) + text[one.end() :]
    text = _ISO.sub(lambda date: f"{date[1]};{date[2]};{date[3]}", text)
    return sorted([*_plain(text), *map(_time, clock)], key=lambda one: one.span)


def without_quantities(text: str) -> str:
    """Return a text without its numbers and their units."""
    kept = normalize("NFC", text)
    for one in quantities(text):
        start, end = one.span
        kept = kept[:start] + " " * (end - start) + kept[end:]
    return kept


def _time(found: re.Match[str]) -> Quantity:
    """Return a time of day in hours; without "am" or "pm", of either half of the day where it can be."""
    hour = found[1] or found[4]
    hours, minutes = NUMBER_WORDS[hour.lower()] if hour.isalpha() else float(hour), float(found[2] or 0)
    half = (found[3] or found[5] or "").strip().lower()[:1]
    if half:
        every = {hours % 12 + (12 if half == "p" else 0)}
    else:
        every = {hours, hours + 12} if 0 < hours <= 12 and not found[1] else {hours}
    return Quantity(frozenset(one + minutes / 60 for one in every), _HOURS, "", found.span())


def _plain(text: str) -> Iterator[Quantity]:
    """Yield the numbers that are no times of day."""
    tokens = [(one[0].lower(), one.start()) for one in _TOKEN.finditer(text)]
    at = 0
    while at < len(tokens):
        values, after = _number(tokens, at)
        if after == at:
            at += 1
            continue
        start, follow = tokens[at][1], tuple(word for word, _ in tokens[after : after + 5])
        before = tokens[at - 1][0] if at else ""
        units, skip, gap = frozenset[Unit](), 0, None
        if before in _CURRENCIES and before:
            units, skip = unit_of((before, *follow))
            skip -= 1
            if follow[:1] == ("m",):
                values = frozenset(1e6 * one for one in values)
        elif follow:
            gap = next(  # "27 months", "5-year", "two full days"
                (n for n, word in enumerate(follow[:3]) if unit_of(follow[n:])[1] and _may_follow(follow, n)), None
            )
            if gap is not None:
                units, skip = unit_of(follow[gap:])
        noun = "" if skip or units else _noun(follow)
        alone = tokens[at][0] in ("one", "a", "an")
        if not (alone and not units and after == at + 1):
            end = after + (gap or 0) + skip if skip else after
            start = tokens[at - 1][1] if before and before in _CURRENCIES else start
            yield Quantity(values, units, noun, (start, tokens[end - 1][1] + len(tokens[end - 1][0])))
        at = after + (gap or 0) + skip if skip else after


def _may_follow(follow: tuple[str, ...], gap: int) -> bool:
    """Tell whether a unit stands close enough to its number: at once, after a hyphen, or after one adjective."""
    if gap == 0:
        return True
    between = follow[:gap]
    short = len(follow[gap]) < 3 and follow[gap] not in "%"
    return between == ("-",) or (not short and gap == 1 and between[0].isalpha() and between[0] not in _FUNCTION)


_FUNCTION_TEXT = """
and or to of in on at by for from with the a an per is was were are be been as than that which who but into
per until till it its his her their our my your this these those he she they we i you not no if when where
while
"""
_FUNCTION = frozenset(_FUNCTION_TEXT.split())


def _noun(follow: tuple[str, ...]) -> str:
    """Return the word that a number counts; empty where another kind of word or a mark follows."""
    word = follow[1] if follow[:1] == ("-",) and len(follow) > 1 else follow[0] if follow else ""
    return word if word.isalpha() and len(word) > 2 and word not in _FUNCTION and word not in MONTHS else ""


def _number(tokens: list[tuple[str, int]], at: int) -> tuple[frozenset[float], int]:
    """Return the values of the number that begins at a token, and the token after it: the same where none does."""
    word = tokens[at][0]
    if word[0].isdigit():
        values, after = _figure(word), at + 1
        if after < len(tokens) and tokens[after][0] in ("st", "nd", "rd", "th", "s"):
            after += 1
        if at and (tokens[at - 1][0] in ("-", "−", "minus")) and (at < 2 or not _touches(tokens, at - 1)):
            values = frozenset(-one for one in values)
    elif (
        word in ("a", "an")
        and at + 1 < len(tokens)
        and (tokens[at + 1][0] in _SCALES or unit_of(tuple(after for after, _ in tokens[at + 1 : at + 4]))[1])
    ):
        values, after = frozenset({1.0}), at + 1
    elif word in NUMBER_WORDS:
        values, after = frozenset({NUMBER_WORDS[word]}), at + 1
    elif word in ("hundred", "thousand", "million", "dozen"):
        values, after = frozenset({1.0}), at
    else:
        return frozenset(), at
    return _compound(tokens, values, after, figure=word[0].isdigit())


def _touches(tokens: list[tuple[str, int]], at: int) -> bool:
    """Tell whether a mark follows the token before it without a space: a hyphen between, no sign."""
    word, place = tokens[at - 1]
    return place + len(word) == tokens[at][1]


def _compound(
    tokens: list[tuple[str, int]], values: frozenset[float], at: int, figure: bool
) -> tuple[frozenset[float], int]:
    """Return a number with the words that go on with it: "twenty-one", "two hundred and fifty", "1.5 million"."""
    while at < len(tokens):
        word = tokens[at][0]
        if word in ("a", "of") and 0.5 in values and tokens[at + 1 : at + 2] and tokens[at + 1][0] in _SCALES:
            at += 1  # "half a million"
            continue
        scale = _SCALES.get(word)
        if scale and (word != "k" or tokens[at - 1][1] + len(tokens[at - 1][0]) == tokens[at][1]):
            values = frozenset((one or 1) * scale for one in values)
            at += 1
            continue
        step = at + 1 if word in ("-", "and") else at
        word = tokens[step][0] if step < len(tokens) else ""
        small = NUMBER_WORDS.get(word)
        fits = (
            small is not None
            and not figure
            and any(one >= 20 and one % (100 if one >= 100 else 10) == 0 for one in values)
        )
        if small is None or not fits or small >= max(values) or (word in ("half", "twice", "double", "triple")):
            break
        if tokens[at][0] == "and" and max(values) < 100:
            break
        values = frozenset(one + small for one in values)
        at = step + 1
    return values, at


def _figure(text: str) -> frozenset[float]:
    """Return the values that figures can be read as."""
    if re.search(rf"[{_SPACES}]", text):
        parts = re.split(rf"[{_SPACES}]", text)
        joined = _figure("".join(parts))
        return joined | frozenset(float(part) for part in parts if part.isdigit() and part[0] != "0")
    text = text.replace("’", "'").replace("'", "")
    marks = re.findall(r"[.,]", text)
    if not marks:
        return frozenset({float(text)})
    last, groups = marks[-1], re.split(r"[.,]", text)
    grouped = all(len(one) == 3 for one in groups[1:]) and 0 < len(groups[0]) <= 3 and groups[0] != "0"
    found = set[float]()
    if len(set(marks)) == 1 and grouped:
        found.add(float("".join(groups)))
    if marks.count(last) == 1:
        whole = "".join(groups[:-1])
        found.add(float(f"{whole}.{groups[-1]}"))
    return frozenset(found or {float("".join(groups))})
