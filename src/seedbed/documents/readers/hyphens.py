"""Words that the end of a line cut in two: which hyphens belong to the line, and which to the word.

Nothing but the text is asked. A word is joined as it is written elsewhere in the text, with a hyphen or without. Where
it is not, the hyphen stays in words that begin or end as compounds do ("well-known", "risk-based"); others are joined.
Hyphens beside digits, capitals or another hyphen ("INV-2024", "state-of-the-art") are never taken away. Left out:
compounds of other languages than English.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_BROKEN = re.compile(
    r"(?<![^\W_])(?<![-\u2010\u2011@/.])([^\W\d_]+)([-\u2010\u00ad])[ \t]*\n[ \t]*([^\W\d_]{2,})(?![^\W_]|[-\u2010@/])"
)
_HYPHENATED = re.compile(r"[^\W\d_]+[-\u2010\u2011][^\W\d_]+")
_WORD = re.compile(r"[^\W\d_]+")
_FIRSTS = (
    "well self half high low long short full cross first second third two three four five six seven eight nine twenty "
    "thirty forty fifty sixty seventy eighty ninety ill user cost hard world"
)
_SUFFIXES = (
    "ness ly ish less ing ings ed er ers en ens ened ening age ages ment ments teen teens teenth fold land lands light "
    "lights lighted lighting way ways cut cuts fall falls coming comings hand stop ever walk walks road roads word "
    "words over ful ware wide"
)
_LASTS = "based driven oriented sized known free specific friendly related averse"
_PREFIXES = "un in dis re de under over mis pre be care inter"
_FIRST = frozenset(_FIRSTS.split())
_SUFFIX = frozenset(_SUFFIXES.split())
"""Ends that make one word with a word of ``_FIRST``: "illness", "shortage", "highlight"."""
_LAST = frozenset(_LASTS.split())
_PREFIX = frozenset(_PREFIXES.split())
_AND = frozenset(("and", "or", "und", "oder", "bis", "sowie"))
"""Words that a first part without its end stands before: "pre- and post-war"."""
Place = Callable[[int], int]


def with_whole_words(text: str) -> tuple[str, Place]:
    """Return a text whose broken words are whole, and the function from a place before to the place after."""
    whole = {word.lower() for word in _WORD.findall(text)}
    hyphenated = {word.lower().replace("\u2010", "-").replace("\u2011", "-") for word in _HYPHENATED.findall(text)}
    cuts = [cut for broken in _BROKEN.finditer(text) if (cut := _cut(broken, whole, hyphenated))]
    begins = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    joined = "".join(text[begin:end] for begin, end in zip(begins, ends, strict=True))
    return joined, lambda place: place - sum(min(end, place) - start for start, end in cuts if start < place)


def _cut(broken: re.Match[str], whole: set[str], hyphenated: set[str]) -> tuple[int, int] | None:
    """Return the span to take away: the hyphen and the line's end, the end alone, or None for nothing."""
    first, mark, last = broken.groups()
    with_hyphen, end_only = (broken.start(2), broken.start(3)), (broken.end(2), broken.start(3))
    low, high = first.lower(), last.lower()
    if mark == "\u00ad" or (low + high in whole and high not in _AND):
        return with_hyphen
    if f"{low}-{high}" in hyphenated:
        return end_only
    if high in _AND or not last.islower() or not (first.islower() or first.istitle()):
        return None
    is_compound = (low in _FIRST and high not in _SUFFIX) or (high in _LAST and low not in _PREFIX)
    return end_only if is_compound else with_hyphen
