"""A page of a PDF: its text, and what of it could not be read.

Characters that no font explains are not passed on in silence: NUL and other control codes are taken out, Adobe's
private codes for old-style digits and small capitals become what they show, private codes before an item of a list
become a bullet; others stay, and are counted.
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pypdf
from pypdf.errors import DependencyError, FileNotDecryptedError

from seedbed.documents.readers.pdf_codes import pictures, prepare_fonts

_FEW = 100
"""Characters. Fewer on a page with a large picture are no text of the page but beside it."""
_SCAN = 500_000
"""Pixels of a large picture: a page at 75 dots an inch."""
_OUTLINES = 200
"""Curves on a page without text from which they are letters drawn as shapes."""
_UNKNOWN = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ufffd\ud800-\udfff\ue000-\uf8ff\ufdd0-\ufdef\uffff]")
_BULLET = re.compile("^([ \t]*)[\uf000-\uf0ff](?=[ \t])", re.MULTILINE)
_PRIVATE = {0xF700 + code: code for code in range(0x21, 0x7F)}
_CURVE = re.compile(rb"\sc\s")
_INLINE_PICTURE = re.compile(rb"\bBI\s.*?\sID\s", re.DOTALL)
_OCR = "run character recognition on it (for example `ocrmypdf`) and add the result"


@dataclass(frozen=True)
class Page:
    """A page that was read.

    Attributes:
        number: from 1.
        unknown: characters without a meaning.
        shown: characters, those included, but white space not.
        instead: what stands on a page with little or no text ("a picture"); "" for others.
        error: why it could not be read, or a part of it.
    """

    number: int
    text: str = ""
    unknown: int = 0
    shown: int = 0
    instead: str = ""
    error: Exception | None = None


def read_page(reader: pypdf.PdfReader, index: int) -> Page:
    """Read a page by its index (from 0). Raises only for a file that is locked, and for too little memory."""
    try:
        with _Warnings() as warnings:
            page = reader.pages[index]
            prepare_fonts(page.get("/Resources"))
            raw = page.extract_text()
            text, unknown = _readable(raw)
            shown = sum(not one.isspace() for one in raw)
            instead = _instead(page, bool(text)) if len(text) < _FEW else ""
            return Page(index + 1, text, unknown, shown, instead, warnings.first)
    except (FileNotDecryptedError, DependencyError, MemoryError):
        raise
    except Exception as error:  # parsers of damaged pages raise anything
        return Page(index + 1, error=error)


class _Warnings(logging.Handler):
    """The first loss that pypdf logs instead of raising it: a form on a page that it could not read."""

    first: Exception | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith(("Impossible to decode XFormObject", "Exceeded")) and self.first is None:
            self.first = ValueError(record.getMessage())

    def __enter__(self) -> _Warnings:
        logging.getLogger("pypdf").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("pypdf").removeHandler(self)


def _readable(raw: str) -> tuple[str, int]:
    """Return a page's text without white space at the ends of lines, and how many characters have no meaning."""
    text = _BULLET.sub(r"\1•", raw.translate(_PRIVATE).replace("\0", ""))
    unknown = len(_UNKNOWN.findall(text)) + sum(
        text.count(one) for one in set(text) if unicodedata.category(one) == "Cn"
    )
    text = re.sub("[\x01-\x08\x0b-\x1f\x7f-\x84\x86-\x9f]|(?<=\ufffd)\ufffd+", "", text)
    lines = (line.rstrip() for line in text.strip().split("\n"))
    return "\n".join("" if set(line) <= {"\ufffd", " "} else line for line in lines).strip(), unknown


def _instead(page: Any, has_text: bool) -> str:
    """Return what a page with little or no text has in its place; beside text only a large picture counts."""
    sizes = list(pictures(page.get("/Resources")))
    content = page.get_contents()
    data = content.get_data() if content is not None else b""
    if max(sizes, default=0) >= _SCAN:
        return "a large picture"
    if has_text:
        return ""
    if sizes or _INLINE_PICTURE.search(data):
        return "a picture"
    return "shapes" if len(_CURVE.findall(data)) >= _OUTLINES else ""


def remarks(pages: Sequence[Page]) -> Iterator[str]:
    """Yield what was not read of some pages, with their numbers."""
    pictured = [page for page in pages if page.instead]
    if pictured:
        what = " and ".join(dict.fromkeys(page.instead for page in pictured))
        yield f"{_numbers(pictured)}: {what} in place of text; {_OCR}"
    for page in pages:
        if page.error is not None:
            yield f"page {page.number} is damaged: {page.error or type(page.error).__name__}"
    unknown = [page for page in pages if page.unknown]
    if unknown:
        count, total = sum(page.unknown for page in unknown), sum(page.shown for page in unknown)
        yield f"{_numbers(unknown)}: {count:,} of {total:,} characters are codes without a meaning; {_OCR}"


def _numbers(pages: Sequence[Page]) -> str:
    """Return pages as ``pages 2, 5-9``."""
    runs: list[list[int]] = []
    for page in pages:
        if runs and page.number == runs[-1][1] + 1:
            runs[-1][1] = page.number
        else:
            runs.append([page.number, page.number])
    shown = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"page {shown}" if len(pages) == 1 else f"pages {shown}"
