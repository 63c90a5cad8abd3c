"""Sentences of a text as spans, so that a citation can point at one.

A sentence ends at a full stop, question or exclamation mark that white space and the beginning of another sentence
follow (in Chinese and Japanese: at their own marks), at an empty line, and before an item of a list. Initials and
common English abbreviations end none. Rules, not a model: names such as "St. Petersburg Inc. The" are still misread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

_END = re.compile(
    r"""(?<![.!?…])[.!?…]+["'”’»)\]*_`]*(?P<gap>\s+)(?=["'“‘«(\[*_`]*(?P<next>[^\W_]))
      | [。！？]+[」』”’）]*              # needs no white space after it
      | (?<!\s)\s*\n\s*\n\s*           # an empty line
      | \n\s*(?=(?:[-*+•]|\d+[.)])\s)   # an item of a list begins
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|St|Prof|Sr|Jr|Gen|Col|Lt|Capt|Rev|Hon|Mt|vs|etc|cf|al|ca|approx|e\.g|i\.e|Vol|Fig|Figs|"
    r"Eq|Sec|Ch|pp?|[^\W\d_]))\.\s+$",
)
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
    for end in _END.finditer(text):
        if not _goes_on(text, start, end):
            yield trim(text, (start, end.end()))
            start = end.end()
    yield trim(text, (start, len(text)))


def _goes_on(text: str, start: int, end: re.Match[str]) -> bool:
    """Return whether the sentence goes on after this mark: a small letter follows, or an abbreviation ended."""
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
