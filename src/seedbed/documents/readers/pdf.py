"""PDF: the text of its pages, where each page begins, and its outline as headings.

The parser is pypdf, with its own limits set from ours. Pages are joined by a line break, since sentences run on from
page to page. A page that cannot be read, or has a picture or codes without a meaning for text, is reported and the
others are read. A file that needs no password to be opened is read even if it is encrypted. Left out: pictures of text
(no character recognition), notes, what was filled into forms (which is reported), and the order of columns beyond what
the file itself says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, BinaryIO

import pypdf
from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError, PyPdfError

from seedbed.core.errors import SeedbedError
from seedbed.documents.document import Document, Heading, Scalar
from seedbed.documents.limits import Limits, too_large, unreadable
from seedbed.documents.readers import Item, Skipped
from seedbed.documents.readers.hyphens import with_whole_words
from seedbed.documents.readers.pdf_pages import Page, read_page, remarks

_MAX_HEADINGS = 5_000
_OUTPUT_LIMITS = ("zlib", "lzw", "run_length", "jbig2", "brotli", "array_based_stream")


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    """Yield one document, and reports of pages that were not read."""
    overwrites: dict[str, Any] = {
        f"{name}_maximum_output_length": limits.unpacked_bytes // 4 for name in _OUTPUT_LIMITS
    }
    overwrites["page_tree_maximum_entries"] = 2 * limits.pages + 1_000  # inner nodes of the tree count too
    try:
        with pypdf.apply_configuration(**overwrites):
            yield from _items(stream, source, limits)
    except (PyPdfError, NotImplementedError) as error:
        raise _explained(error, source) from error


def _explained(error: Exception, source: str) -> SeedbedError:
    """Return the error to show for one of pypdf's."""
    if isinstance(error, LimitReachedError):
        return too_large(source, str(error), "pages" if "page tree" in str(error) else "unpacked_bytes")
    if isinstance(error, FileNotDecryptedError):
        return unreadable(source, f"it is locked with a password: {error}", "save it without a password")
    if isinstance(error, NotImplementedError):
        return unreadable(source, f"it is locked in an unknown way: {error}", "save it without protection")
    if isinstance(error, DependencyError):
        return unreadable(source, f"a library is missing: {error}", "pip install cryptography")
    return unreadable(source, f"it is damaged: {error}")


def _items(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    reader = pypdf.PdfReader(stream)
    if len(reader.pages) > limits.pages:
        raise too_large(source, f"it has {len(reader.pages):,} pages", "pages")
    pages = list(_pages(reader, source, limits))
    if not any(page.text for page in pages):
        if broken := next((page.error for page in pages if page.error), None):
            raise _explained(broken, source)
        if why := "; ".join(remarks(pages)):
            yield Skipped(source, f"there is no text in it: {why}")
        return
    starts = [0, *accumulate(len(page.text) + 1 for page in pages)][:-1]
    text, place_of = with_whole_words("\n".join(page.text for page in pages))
    places = tuple(map(place_of, starts))
    title, metadata = _information(reader)
    yield Document(source, text, title, places, tuple(_headings(reader, text, places)), metadata)
    for why in (*remarks(pages), *_unread_form(reader)):
        yield Skipped(source, why, partly=True)


def _pages(reader: pypdf.PdfReader, source: str, limits: Limits) -> Iterator[Page]:
    chars = 0
    for number in range(len(reader.pages)):
        page = read_page(reader, number)
        chars += len(page.text) + 1
        if chars > limits.text_chars:
            raise too_large(source, f"it has more than {limits.text_chars:,} characters of text", "text_chars")
        yield page


def _unread_form(reader: pypdf.PdfReader) -> Iterator[str]:
    """Yield a remark on the fields of a form that hold a text, if there are any."""
    try:
        fields = reader.get_form_text_fields() or {}
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError):
        return
    if filled := sum(bool(str(value or "").strip()) for value in fields.values()):
        yield f"{filled:,} filled fields of its form were not read: print it to PDF"


def _information(reader: pypdf.PdfReader) -> tuple[str, dict[str, Scalar]]:
    metadata: dict[str, Scalar] = {"pages": len(reader.pages)}
    try:
        title, author = reader.metadata.title if reader.metadata else "", reader.metadata and reader.metadata.author
    except PyPdfError:
        return "", metadata
    if author:
        metadata["author"] = str(author)
    return str(title or "").strip(), metadata


def _headings(reader: pypdf.PdfReader, text: str, pages: tuple[int, ...]) -> Iterator[Heading]:
    """Yield entries of the outline, placed where their page has the same words, else where it begins."""
    try:
        entries = sorted(_entries(reader, reader.outline, 1), key=lambda entry: entry[0])
    except (PyPdfError, ValueError, TypeError, KeyError, AttributeError):
        return
    last = 0
    for page, level, title in entries[:_MAX_HEADINGS]:
        end = pages[page + 1] if page + 1 < len(pages) else len(text)
        words = r"\s+".join(map(re.escape, title.split()))
        found = re.compile(words, re.IGNORECASE).search(text, max(last, pages[page]), end)
        last = found.start() if found else max(last, pages[page])
        yield Heading(last, level, title)


def _entries(reader: pypdf.PdfReader, outline: Any, level: int) -> Iterator[tuple[int, int, str]]:
    """Yield page, level and title of every entry; a list inside an outline is the level below."""
    for entry in outline:
        if isinstance(entry, list):
            yield from _entries(reader, entry, level + 1)
            continue
        page = reader.get_destination_page_number(entry)
        title = " ".join(str(entry.title or "").split())
        if page is not None and page >= 0 and title:
            yield page, level, title
