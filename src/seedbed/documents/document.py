"""Documents and the chunks they are cut into. A chunk always says where in its document it stands."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

Scalar = str | int | float | bool
Metadata = Mapping[str, Scalar]
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Heading:
    """A heading, where it begins in the text, and its level (1 is the highest). A mail's subject begins at 0."""

    start: int
    level: int
    text: str


@dataclass(frozen=True)
class Document:
    """One text that was read.

    Attributes:
        source: where it came from: a path, an address, a query. Names it in a collection.
        pages: where each page begins in the text, the first one first; empty where there are none.
        headings: in the order of the text.
    """

    source: str
    text: str
    title: str = ""
    pages: tuple[int, ...] = ()
    headings: tuple[Heading, ...] = ()
    metadata: Metadata = field(default_factory=dict)

    def page_at(self, place: int) -> int | None:
        """Return the number of the page that a character is on, from 1."""
        return max(1, bisect_right(self.pages, place)) if self.pages else None

    def heading_at(self, place: int) -> str:
        """Return the headings above a character, from the highest down: ``Install > On Linux``."""
        path: list[Heading] = []
        for index in range(bisect_right(self.headings, place, key=lambda one: one.start) - 1, -1, -1):
            heading = self.headings[index]
            if not path or heading.level < path[-1].level:
                path.append(heading)
            if heading.level <= 1:
                break
        return " > ".join(one.text for one in reversed(path))

    def chunk(self, start: int, end: int) -> Chunk:
        """Return the part from ``start`` to ``end``, with its page and headings."""
        text = self.text[start:end]
        return Chunk(self.source, start, end, text, self.page_at(start), self.heading_at(start), self.metadata)


@dataclass(frozen=True)
class Chunk:
    """A part of a document: ``document.text[start:end] == text``."""

    source: str
    start: int
    end: int
    text: str
    page: int | None = None
    heading: str = ""
    metadata: Metadata = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Return a hash: the same part of the same source with the same text has the same id."""
        content = "\0".join((self.source, str(self.start), str(self.end), self.text))
        return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()[:32]


def tidy(document: Document) -> Document:
    """Return the document with U+FFFD for what can be neither stored nor encoded; see :func:`clean`."""
    data = {clean(key): clean(one) if isinstance(one, str) else one for key, one in document.metadata.items()}
    headings = tuple(replace(one, text=clean(one.text)) for one in document.headings)
    source, text, title = map(clean, (document.source, document.text, document.title))
    return replace(document, source=source, text=text, title=title, headings=headings, metadata=data)


def clean(text: str) -> str:
    """Return the text with U+FFFD for NUL and halves of surrogate pairs, one for one, so that spans stay right."""
    return _NO_TEXT.sub("\ufffd", text)
