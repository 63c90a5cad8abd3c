"""Sentences of a text as spans, so that a citation can point at one.

A sentence ends at a full stop, question or exclamation mark that white space and the beginning of another sentence
follow (in Chinese and Japanese: at their own marks, with no space after them), at an empty line, and before an item of
a list. Arabic, Indic, Khmer, Burmese, Tibetan, Ethiopic and Armenian have marks of their own. Thai and Lao have none: a
space ends a sentence there once it is long enough to be one. In scripts without spaces a short line without marks is a
title. Initials and common English abbreviations end none. Rules, not a model: names such as "St. Petersburg Inc. The"
are still misread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

_UNMARKED = r"\u0e00-\u0eff"
"""Thai and Lao."""
_UNSPACED = rf"{_UNMARKED}\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_WESTERN = r"""(?<![.!?…])[.!?…]+["'”’»)\]*_`]*(?P<gap>\s+)(?=["'“‘«(\[*_`]*(?P<next>[^\W_]))
      | (?<!\s)\s*\n\s*\n\s*           # an empty line
      | \n\s*(?=(?:[-*+•]|\d+[.)])\s)   # an item of a list begins
"""
_OTHERS = rf"""
      | (?<![.!?…])[.!?]+[」』”’）]*\s*(?=[{_UNSPACED}])   # the Western marks in Chinese
      | (?:[。｡！？]|．(?!\d))+[」』”’）〕】]*     # needs no white space after it
      | [؟۔।॥։።፧။។៕།༎]+["'”’»)]*[ །]*  # other scripts' marks
      | (?<=[{_UNMARKED}])(?P<space>[ \t]+)(?=[{_UNMARKED}])
      | (?<=[{_UNSPACED}])(?P<line>[ \t]*\n\s*)(?=[{_UNSPACED}])
"""
_HAS_OTHERS = re.compile("[\u0531-\u1fff\u2e80-\uffef\U00020000-\U0003ffff]")
_END = re.compile(_WESTERN, re.VERBOSE)
_ANY_END = re.compile(_WESTERN + _OTHERS, re.VERBOSE)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr|Gen|Col|Lt|Capt|Rev|Hon|Mt|vs|etc|cf|al|ca|approx|e\.g|i\.e|Vol|Fig|Figs|"
    r"Eq|Sec|Ch|pp?|[^\W\d_]))\.\s+$",
)
_CLAUSE = re.compile("[,;:，、；：,]")
_SHORTEST, _TITLE = 20, 30
"""Characters: a shorter part of a Thai text goes on after a space; a longer line, in any of these, after its end."""
_LONGEST = 1200
"""Characters. What is longer is no sentence but a table or code, and is cut at the ends of its lines."""


def sentence_spans(text: str) -> list[Span]:
    """Return every sentence as (start, end), in order; only white space lies between them."""
    return [span for whole in _sentences(text) for span in _short(text, whole) if span[0] < span[1]]


def sentences(text: str) -> list[str]:
    """Return the sentences themselves."""
    return [text[start:end] for start, end in sentence_spans(text)]


def _sentences(text: str) -> Iterator[Span]:
    start = 0
    pattern = _ANY_END if not text.isascii() and _HAS_OTHERS.search(text) else _END
    for end in pattern.finditer(text):
        if not _goes_on(text, start, end):
            yield trim(text, (start, end.end()))
            start = end.end()
    yield trim(text, (start, len(text)))


def _goes_on(text: str, start: int, end: re.Match[str]) -> bool:
    """Return whether the sentence goes on after this mark.

    It does before a small letter, after an abbreviation, after a short part of a Thai text, and over a full line's end.
    """
    if end.re is _ANY_END and end["space"]:
        return len(text[start : end.start()].strip()) < _SHORTEST
    if end.re is _ANY_END and end["line"]:
        line = text[max(start, text.rfind("\n", 0, end.start()) + 1) : end.start()]
        return len(line) > _TITLE or _CLAUSE.search(line) is not None
    if end["next"] is None or end["gap"].count("\n") > 1:
        return False
    return end["next"].islower() or _ABBREVIATION.search(text, max(start, end.start() - 10), end.end()) is not None


def _short(text: str, span: Span) -> Iterator[Span]:
    start, end = span
    while end - start > _LONGEST:
        line = text.rfind("\n", start + 1, start + _LONGEST)
        space = line if line > start else text.rfind(" ", start + 1, start + _LONGEST)
        stop = space if space > start else start + _LONGEST
        yield trim(text, (start, stop))
        start, end = trim(text, (stop, end))
    yield start, end


def trim(text: str, span: Span) -> Span:
    """Return a span without the white space at its ends; empty where there is nothing else."""
    inner = text[slice(*span)]
    if not inner.strip():
        return span[1], span[1]
    return span[0] + len(inner) - len(inner.lstrip()), span[0] + len(inner.rstrip())
