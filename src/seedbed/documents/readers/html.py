"""Web pages: headings, paragraphs, lists and preformatted text as Markdown-like prose; the furniture is left out.

The prose is made by the corpus's own HTML reader. A page in another encoding than UTF-8 is read in the one it declares.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import BinaryIO

from bs4.dammit import EncodingDetector

from seedbed.documents.document import Document
from seedbed.documents.encoding import detect_encoding
from seedbed.documents.headings import markdown_headings
from seedbed.documents.html_text import html_text
from seedbed.documents.limits import Limits, read_whole, unreadable


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """One document; its title is the page's.

    Raises:
        DataError: it is binary.
        CapacityError: it has more bytes than ``limits.file_bytes``.
    """
    yield html_document(decode(read_whole(stream, source, limits), source), source)


def html_document(markup: str, source: str) -> Document:
    """The document of a page's markup."""
    text = html_text(markup)
    headings = markdown_headings(text)
    title = headings[0].text if headings and headings[0].start == 0 else ""
    return Document(source, text, title, (), headings)


def decode(data: bytes, source: str) -> str:
    """Bytes of a page as text.

    Raises:
        DataError: they are no text.
    """
    encoding = detect_encoding(io.BytesIO(data))
    if encoding is None:
        raise unreadable(source, "it is binary, not a web page")
    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    if not encoding.startswith("utf") and declared and _is_known(declared):
        encoding = declared
    return data.decode(encoding, "replace")


def _is_known(encoding: str) -> bool:
    try:
        b"".decode(encoding)
    except LookupError:  # unknown, or one of Python's codecs that make no text
        return False
    return True
