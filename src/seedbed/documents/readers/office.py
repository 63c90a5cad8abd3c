"""Further formats by the optional library markitdown: pptx, xlsx, xls, epub, msg; what it gives is Markdown.

Only these, and only their own parsers: markitdown can also follow links, hear audio and ask models, which a reader of
documents must not do.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import BinaryIO

from seedbed.core.errors import UsageError
from seedbed.documents.document import Document
from seedbed.documents.headings import markdown_headings
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.readers.zip_limits import check_zip


def read_pptx(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Read slides. Raises DataError, CapacityError, UsageError (no markitdown), as all here."""
    check_zip(stream, source, limits)
    return _convert(stream, source, ".pptx")


def read_xlsx(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Read a workbook, its sheets as tables."""
    check_zip(stream, source, limits)
    return _convert(stream, source, ".xlsx")


def read_epub(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Read a book; its pages are web pages, which may declare their type."""
    check_zip(stream, source, limits, office=False)
    return _convert(stream, source, ".epub")


def read_xls(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Read a workbook in the old binary format."""
    return _convert(stream, source, ".xls")


def read_msg(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Read an Outlook message."""
    return _convert(stream, source, ".msg")


def _convert(stream: BinaryIO, source: str, suffix: str) -> Iterator[Document]:
    try:
        markitdown = importlib.import_module("markitdown")
    except ImportError as error:
        raise UsageError(
            f"{source} needs another library",
            why=f"files ending in {suffix} are read by markitdown, which is not installed",
            fix="pip install 'seedbed[docs-all]', or save the file as PDF, docx or HTML",
        ) from error
    try:
        converter = markitdown.MarkItDown(enable_plugins=False)
        result = converter.convert_stream(stream, stream_info=markitdown.StreamInfo(extension=suffix))
    except markitdown.MarkItDownException as error:
        raise unreadable(source, f"it is damaged: {error}") from error
    text = str(result.markdown)
    yield Document(source, text, str(result.title or ""), (), markdown_headings(text))
