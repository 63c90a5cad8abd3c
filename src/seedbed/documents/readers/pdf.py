"""PDF: the text of its pages, where each page begins, and its outline as headings.

The parser is pypdf, with its own limits set from ours. Pages are joined by a line break, since sentences run on from
page to page. Left out: pictures of text (no character recognition), forms, notes, and the order of columns beyond
what the file itself says. A file that needs no password to be opened is read even if it is encrypted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import pypdf
from pypdf.errors import DependencyError, FileNotDecryptedError, LimitReachedError, PyPdfError

from seedbed.documents.document import Document, Heading, Scalar
from seedbed.documents.limits import Limits, too_large, unreadable

_MAX_HEADINGS = 5_000
_OUTPUT_LIMITS = ("zlib", "lzw", "run_length", "jbig2", "brotli", "array_based_stream")


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield one document."""
    overwrites: dict[str, Any] = {
        f"{name}_maximum_output_length": limits.unpacked_bytes // 4 for name in _OUTPUT_LIMITS
    }
    overwrites["page_tree_maximum_entries"] = 2 * limits.pages + 1_000  # inner nodes of the tree count too
    try:
        with pypdf.apply_configuration(**overwrites):
            yield _document(stream, source, limits)
    except LimitReachedError as error:
        raise too_large(source, str(error), "pages" if "page tree" in str(error) else "unpacked_bytes") from error
    except (FileNotDecryptedError, DependencyError) as error:
        raise unreadable(source, f"it is locked: {error}", "save it without a password") from error
    except PyPdfError as error:
        raise unreadable(source, f"it is damaged: {error}") from error


def _document(stream: BinaryIO, source: str, limits: Limits) -> Document:
    reader = pypdf.PdfReader(stream)
    if len(reader.pages) > limits.pages:
        raise too_large(source, f"it has {len(reader.pages):,} pages", "pages")
    texts: list[str] = []
    starts = [0]
    for page in reader.pages:
        texts.append(_lines(page.extract_text()))
        starts.append(starts[-1] + len(texts[-1]) + 1)
        if starts[-1] > limits.text_chars:
            raise too_large(source, f"it has more than {limits.text_chars:,} characters of text", "text_chars")
    text = "\n".join(texts)
    pages = tuple(starts[:-1])
    title, metadata = _information(reader)
    return Document(source, text, title, pages, tuple(_headings(reader, text, pages)), metadata)


def _lines(text: str) -> str:
    """Return a text without white space at the ends of lines; words that a line's end cut in two are whole."""
    text = "\n".join(line.rstrip() for line in text.strip().split("\n"))
    return re.sub(r"(?<=[a-zß-ÿ])\u00ad\n(?=[a-zß-ÿ])", "", text)


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
