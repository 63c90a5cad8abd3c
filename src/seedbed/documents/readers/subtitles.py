"""Subtitles in SubRip (srt): what is said, without the numbers and times of cues.

Cues follow each other with a space between; where nothing is said for more than two seconds, a paragraph ends. Marks of
style, ``<i>`` and ``{\\an8}``, are left out. Large files become parts, as tables do, and so does a paragraph that is
longer than a part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import BinaryIO

from seedbed.documents.document import Document
from seedbed.documents.encoding import open_text
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.readers.table import rows_documents

_TIME = r"(\d+):(\d\d?):(\d\d?)[,.](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}", re.ASCII)
_STYLE = re.compile(r"</?(?:[biu]|font\b[^<>]*)>|\{\\[^{}]*\}", re.IGNORECASE)
_PAUSE = 2.0  # seconds


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield the documents of a file of subtitles. Raises DataError: it has text, and no cue."""
    with open_text(stream, source, limits) as text:
        lines = iter(partial(text.readline, limits.part_chars), "")
        yield from rows_documents(_paragraphs(lines, source, limits.part_chars), source, limits)


def _paragraphs(lines: Iterable[str], source: str, longest: int) -> Iterator[str]:
    kept: list[str] = []
    length, before = 0, 0.0
    for start, end, line in _cues(lines, source):
        if kept and (start - before > _PAUSE or length + len(line) > longest):
            yield " ".join(kept)
            kept, length = [], 0
        kept.append(line)
        length, before = length + len(line) + 1, end
    yield " ".join(kept)


def _cues(lines: Iterable[str], source: str) -> Iterator[tuple[float, float, str]]:
    """Yield each line that is said, with the seconds at which its cue begins and ends."""
    times: tuple[float, float] | None = None
    number = ""  # a line of digits is the number of a cue if times follow, else text
    for line in lines:
        if found := _TIMES.match(line):
            times, number = (_seconds(*found.groups()[:4]), _seconds(*found.groups()[4:])), ""
            continue
        said = [" ".join(_STYLE.sub("", one).split()) for one in (number, line)]
        number = ""
        if said[1].isdecimal():
            said, number = said[:1], line
        for one in filter(None, said):
            if times is None:
                raise unreadable(source, "it has text before any times of a cue", "name it .txt if it has no cues")
            yield (*times, one)
    if number.strip() and times is not None:
        yield (*times, number.strip())


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")
