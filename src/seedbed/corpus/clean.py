"""Text made plain: mojibake, Unicode form, ligatures, newlines, control and invisible characters, trailing space.

Code keeps its indentation and blank lines; prose is never reflowed either. Mojibake is repaired by ftfy and only in
lines whose badness heuristic fires, since a repair of the whole text fails as soon as one character of it is real.
Ligatures and presentation forms, which PDF files have for the letters they show, become those letters in prose.
The zero-width joiners stay: Persian, Indic scripts and emoji need them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

import ftfy
from ftfy.badness import is_bad

from seedbed.corpus.document import Kind

_NEWLINES = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CODE_NEWLINES = re.compile("\r\n?|[\x85\u2028\u2029]")
# Control characters but tab and newline; lone surrogates; byte-order mark, zero-width space, word joiner, soft
# hyphen; and the marks that turn the writing direction, which can hide what code does.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufeff\u200b\u2060\xad\u202a-\u202e\u2066-\u2069]")
_ASCII_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
# Latin and Armenian ligatures, and Arabic letters in the form of their place in a word; not the symbols among these.
_FORMS = re.compile("[\ufb00-\ufb06\ufb13-\ufb17\ufb50-\ufd3d\ufd50-\ufdcf\ufe70-\ufefc]")
_BLANK_RUN = re.compile(r"\n{4,}")
_TRAILING = re.compile(r"[ \t]\n")
_PASSES = 8  # two have always been enough
_GUTENBERG_START = re.compile(r"^\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG .*\n", re.MULTILINE)
_GUTENBERG_END = re.compile(r"^\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG ", re.MULTILINE)


def clean_text(text: str, kind: Kind, counts: Counter[str]) -> str:
    """Return a text in plain form; ``counts`` gets what was repaired. Cleaning twice changes nothing more."""
    once = _clean(text, kind, counts)
    for _ in range(_PASSES):  # what one step takes away may be what kept another from seeing mojibake
        if once == text or once.isascii():
            break
        text, once = once, _clean(once, kind, counts)
    return once


def _clean(text: str, kind: Kind, counts: Counter[str]) -> str:
    if not text.isascii():
        text = _repair_mojibake(text, counts)
        text = unicodedata.normalize("NFC", _write_out(text, counts) if kind == "prose" else text)
    text = (_NEWLINES if kind == "prose" else _CODE_NEWLINES).sub("\n", text)
    text, removed = (_ASCII_CONTROLS if text.isascii() else _CONTROLS).subn("", text)
    counts["control or invisible characters removed"] += removed
    if removed and not text.isascii():  # what stood between two characters may have kept them from composing
        text = unicodedata.normalize("NFC", text)
    if _TRAILING.search(text):
        text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
    if kind == "prose":
        text = squeeze_blank_lines(_without_licence_frame(text, counts))
    stripped = text.strip("\n").rstrip()
    return f"{stripped}\n" if stripped else ""


def squeeze_blank_lines(text: str) -> str:
    """Return a text with at most two blank lines in a row."""
    return _BLANK_RUN.sub("\n\n\n", text)


def _repair_mojibake(text: str, counts: Counter[str]) -> str:
    if not is_bad(text):
        return text
    lines = text.split("\n")
    fixed = [line if line.isascii() or not is_bad(line) else ftfy.fix_encoding(line) for line in lines]
    counts["lines of mojibake repaired"] += sum(a != b for a, b in zip(lines, fixed, strict=True))
    return "\n".join(fixed)


def _write_out(text: str, counts: Counter[str]) -> str:
    text, found = _FORMS.subn(lambda form: unicodedata.normalize("NFKC", form[0]), text)
    counts["ligatures and presentation forms written out"] += found
    return text


def _without_licence_frame(text: str, counts: Counter[str]) -> str:
    """Return the text between Project Gutenberg's two marker lines, where they are."""
    start, end = _GUTENBERG_START.search(text), _GUTENBERG_END.search(text)
    if start is None and end is None:
        return text
    counts["Project Gutenberg frames removed"] += 1
    return text[start.end() if start else 0 : end.start() if end else len(text)]
