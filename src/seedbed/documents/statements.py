"""Statements of a text as spans: sentences, and each heading, item of a list, row of a table and line of code alone.

A sentence splitter takes a whole table or code block for one sentence, because no full stop ends its lines; a quotation
or a citation of it would hold words enough for nearly anything. Markdown's marks are read (fences, ``|``, ``#``), rows
as our readers write them ("a | b", tabs, "key: value" lines), and doctest's ``>>>`` and ``$`` prompts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from seedbed.documents.sentences import Span, sentence_spans, trim

Kind = Literal["sentence", "heading", "item", "row", "code"]
_FENCE = re.compile(r"\s{0,3}(```+|~~~+)")
_HEADING = re.compile(r"#{1,6}\s+\S")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,3}[.)])\s+\S")
_ROW = re.compile(r"\s*\|.*\||[^|]+ \| [^|]*|[^\t]*\S\t+\S")
_RULE = re.compile(r"[\s|:+=-]*-[\s|:+=-]*$")
_FIELD = re.compile(r"[^\W\d_][^.!?:]{0,40}: \S")
_PROMPT = re.compile(r"\s*(?:>>> |\.\.\. |\$ |> ?\$ |PS> |C:\\>)\S?")
_INDENTED = re.compile(r"(?: {4}|\t)\s*\S")


@dataclass(frozen=True)
class Statement:
    """A part of a text that says one thing.

    Attributes:
        block: the number of the table, list or fence it stands in, or of its run of plain text.
    """

    span: Span
    kind: Kind
    block: int


def statements(text: str) -> list[Statement]:
    """Return the statements of a text, in order; marks of fences and rules of tables belong to none."""
    found: list[Statement] = []
    for block, (kind, lines) in enumerate(_blocks(text)):
        if kind == "sentence":
            start, end = lines[0][0], lines[-1][1]
            spans = [(start + first, start + last) for first, last in sentence_spans(text[start:end])]
        else:
            spans = [trim(text, line) for line in lines]
        found += (Statement(span, kind, block) for span in spans if span[0] < span[1])
    return found


def _blocks(text: str) -> Iterator[tuple[Kind, Sequence[Span]]]:
    """Yield runs of lines of one kind; a line of a list goes on with the lines below it that are indented."""
    run, current, fence = list[Span](), "", _open_at_first(text)
    for start, end in _lines(text):
        line, kind = text[start:end], ""
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence):
                fence, kind = "", "mark"
            else:
                kind = "code"
        elif mark:
            fence, kind = mark[1], "mark"
        else:
            kind = _kind(line, current)
        if kind == "rule":
            continue
        if kind == "goes on":
            run[-1] = (run[-1][0], end)
            continue
        if kind != current or kind == "heading":
            if run and current:
                yield from _settled(text, current, run)
            run, current = [], kind if kind != "mark" else ""
        if kind and kind != "mark":
            run.append((start, end))
    if run and current:
        yield from _settled(text, current, run)


def _kind(line: str, current: str) -> str:
    """Return the kind of a line outside of fences; "" of an empty one, "goes on" where it belongs to the item above."""
    if not line.strip():
        return "sentence" if current == "sentence" else ""
    if _HEADING.match(line):
        return "heading"
    if _RULE.match(line) and ("|" in line or current == "row"):
        return "rule"
    if _PROMPT.match(line):
        return "code"
    if _ITEM.match(line):
        return "item"
    if _ROW.match(line):
        return "row"
    if current == "item" and line[0].isspace():
        return "goes on"
    if _INDENTED.match(line) and current in ("", "code") and _looks_like_code(line):
        return "code"
    if _FIELD.match(line) and len(line) < 200:
        return "field"
    return "sentence"


def _settled(text: str, kind: str, run: list[Span]) -> Iterator[tuple[Kind, Sequence[Span]]]:
    """Yield a run: "key: value" lines are rows where there are two of them, else text; long items are sentences."""
    if kind == "field":
        kind = "row" if len(run) > 1 else "sentence"
    if kind == "item":
        for one in run:
            yield ("item" if len(sentence_spans(text[slice(*one)])) == 1 else "sentence"), [one]
        return
    yield kind, run  # type: ignore[misc]


def _open_at_first(text: str) -> str:
    """Return the mark of a fence that was opened before the text, which is a part of a document; else nothing."""
    lines = text.splitlines()
    marks = [(at, found[1]) for at, line in enumerate(lines) if (found := _FENCE.match(line))]
    if len(marks) % 2 == 0 or lines[marks[0][0]].strip() != marks[0][1]:
        return ""
    before = [line for line in lines[: marks[0][0]] if line.strip()]
    return marks[0][1] if before and 2 * sum(map(_looks_like_code, before)) >= len(before) else ""


def _looks_like_code(line: str) -> bool:
    return bool(re.search(r"[(){}=;<>$\\]|--\w|\w/\w|\w_\w", line))


def _lines(text: str) -> Iterator[Span]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, start + len(line)
        start += len(line)
