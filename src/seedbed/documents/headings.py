"""Headings of plain-text formats: Markdown, reStructuredText and Python source, with the place where each begins.

Markdown follows CommonMark for ``#`` and underlined headings, outside fenced code; headings inside quotes and lists
are left out. reStructuredText follows docutils: the level of an underline is the order in which its style first
occurs. Python's "headings" are its classes and functions, found by their lines, so that broken or old source works.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from seedbed.documents.document import Heading

_ATX = re.compile(r" {0,3}(#{1,6})(?=[ \t]|$)")
_FENCE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*")
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?:.*\n)*?(?:---|\.\.\.)[ \t]*(?:\n|\Z)")
_NO_PARAGRAPH = re.compile(r"\s*$|( {4}|\t)| {0,3}([>#]|[-*+][ \t]|1[.)][ \t]|<|(?:[-*_][ \t]*){3,}$)")
_RST_LINE = re.compile(r"([!-/:-@\[-`{-~])\1*\s*")
_STRING = r'"""[\s\S]*?"""|\'\'\'[\s\S]*?\'\'\''
_PYTHON = re.compile(rf"{_STRING}|^([ \t]*)(?:async[ \t]+)?(def|class)[ \t]+(\w+)", re.MULTILINE)


def markdown_headings(text: str) -> tuple[Heading, ...]:
    """Return the headings of a Markdown text; a block of metadata between ``---`` lines at its beginning is none."""
    return tuple(_markdown(text))


def _markdown(text: str) -> Iterator[Heading]:
    front, fence = _FRONT_MATTER.match(text), ""
    paragraph: int | None = None  # where the paragraph begins that an underline would make a heading
    for start, line in _lines(text, front.end() if front else 0):
        opened = _FENCE.fullmatch(line)
        if fence:
            if opened and opened[1].startswith(fence) and not opened[2].strip():
                fence = ""
        elif opened:
            fence, paragraph = opened[1], None
        elif atx := _ATX.match(line):
            yield Heading(start, len(atx[1]), _without_closing(line[atx.end() :]).strip())
            paragraph = None
        elif paragraph is not None and (underline := _SETEXT.fullmatch(line)):
            yield Heading(paragraph, 1 if underline[1][0] == "=" else 2, _plain(text[paragraph:start]))
            paragraph = None
        elif paragraph is not None and line.strip() and line.startswith(("    ", "\t")):
            continue  # an indented line goes on with a paragraph; alone it would be code
        elif _NO_PARAGRAPH.match(line):
            paragraph = None
        elif paragraph is None:
            paragraph = start


def _without_closing(title: str) -> str:
    """Return a title without the ``#`` that may close it, which stand apart from its last word."""
    bare = title.rstrip(" \t")
    open_title = bare.rstrip("#")
    return open_title if not open_title or open_title[-1] in " \t" else bare


def _plain(text: str) -> str:
    return " ".join(text.split())


def rst_headings(text: str) -> tuple[Heading, ...]:
    """Return the headings of a reStructuredText: underlined lines, with or without an overline."""
    lines = list(_lines(text))
    styles: list[tuple[str, bool]] = []
    found = []
    for index in range(len(lines) - 1):
        start, title = lines[index]
        if not _is_rst_title(lines, index):
            continue
        over = index > 0 and lines[index - 1][1].rstrip() == lines[index + 1][1].rstrip()
        style = lines[index + 1][1][0], over
        if style not in styles:
            styles.append(style)
        found.append(Heading(lines[index - 1][0] if over else start, styles.index(style) + 1, _plain(title)))
    return tuple(found)


def _is_rst_title(lines: list[tuple[int, str]], index: int) -> bool:
    """Return whether a line is underlined at its whole width, and not the second line of a paragraph."""
    title, under = lines[index][1].rstrip(), lines[index + 1][1].rstrip()
    if not title or not _RST_LINE.fullmatch(under):
        return False
    columns = sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in title.strip())  # on a screen
    if len(under) < columns:
        return False
    before = lines[index - 1][1].rstrip() if index else ""
    overlined = before == under
    return (not before or overlined) and not _RST_LINE.fullmatch(title) and (overlined or not title[0].isspace())


def python_headings(text: str) -> tuple[Heading, ...]:
    """Return the classes and functions of Python source, each under the one that holds it."""
    found: list[Heading] = []
    indents: list[int] = []
    for match in _PYTHON.finditer(text):
        if match[2] is None:  # a string, which may hold what looks like code
            continue
        indent = len(match[1].expandtabs())
        while indents and indents[-1] >= indent:
            indents.pop()
        indents.append(indent)
        found.append(Heading(match.start(), len(indents), f"{match[2]} {match[3]}"))
    return tuple(found)


def sections(text: str, headings: Sequence[Heading]) -> list[tuple[str, str]]:
    """Return each heading with the text below it, up to the next one; first what stands above all, under no heading."""
    starts = [*(heading.start for heading in headings), len(text)]
    below = [
        (one.text, text[_body_start(text, one.start) : stop]) for one, stop in zip(headings, starts[1:], strict=True)
    ]
    return [("", text[: starts[0]]), *below]


def _body_start(text: str, start: int) -> int:
    """Return the place after a heading's own lines: one of ``#``, else all up to the line under the title."""
    for place, line in _lines(text, start):
        is_title = place == start or _RST_LINE.fullmatch(line.strip()) is None
        if _ATX.match(line) or not is_title:
            return place + len(line)
    return len(text)


def _lines(text: str, start: int = 0) -> Iterator[tuple[int, str]]:
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, text[start:end]
        start = end + 1
