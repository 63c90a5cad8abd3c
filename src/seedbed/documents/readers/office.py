"""Further formats by the optional library markitdown: pptx, xlsx, xls, epub, msg; what it gives is Markdown.

Only these, and only their own parsers: markitdown can also follow links, hear audio and ask models, which a reader of
documents must not do. Words of slides and sheets that markitdown leaves out (diagrams, text boxes on sheets, comments
of cells, some equations) are counted in the XML and reported.
"""

from __future__ import annotations

import importlib
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from lxml import etree

from seedbed.core.errors import UsageError
from seedbed.documents.document import Document
from seedbed.documents.headings import markdown_headings
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.readers import Item
from seedbed.documents.readers.office_package import count_words, loss, ordinary, words_in_xml
from seedbed.documents.readers.zip_limits import check_zip

_TEXTS = re.compile(
    r"(ppt/(slides/slide|notesSlides/notesSlide|diagrams/data)|xl/(sharedStrings|worksheets/sheet|drawings/drawing"
    r"|diagrams/data|comments/?comment|comments))\d*\.xml"
)
"""Members of a package with text."""


def _read(
    stream: BinaryIO, source: str, limits: Limits, suffix: str, *, zipped: bool = True, office: bool = True
) -> Iterator[Item]:
    if zipped:
        check_zip(stream, source, limits, office=office)
        stream = ordinary(stream)
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
    text = str(result.markdown).replace("\v", "\n")  # a line break on a slide
    yield Document(source, text, str(result.title or ""), (), markdown_headings(text))
    if zipped and office:
        yield from loss(source, _words(stream), count_words(text))


def _words(stream: BinaryIO) -> Counter[str]:
    with zipfile.ZipFile(stream) as package:
        texts = [package.read(name) for name in package.namelist() if _TEXTS.fullmatch(name)]
    return sum((words_in_xml(etree.fromstring(text)) for text in texts), Counter())


read_pptx = partial(_read, suffix=".pptx")
read_xlsx = partial(_read, suffix=".xlsx")
read_epub = partial(_read, suffix=".epub", office=False)  # its pages are web pages, which may declare their type
read_xls = partial(_read, suffix=".xls", zipped=False)
read_msg = partial(_read, suffix=".msg", zipped=False)
