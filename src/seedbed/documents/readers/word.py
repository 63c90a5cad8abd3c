"""Word documents (docx): paragraphs, headings and tables in their order; a table's row is a line, cells between bars.

Left out: headers, footers, footnotes, comments, text boxes, pictures and deleted text of tracked changes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import docx
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table

from seedbed.documents.document import Document, Heading, Scalar
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.readers.zip_limits import check_zip

_GAP = "\n\n"


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield one document."""
    check_zip(stream, source, limits)
    try:
        document = docx.Document(stream)
    except (PackageNotFoundError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise unreadable(source, f"it is no Word document, or damaged: {error}") from error
    text, headings = _content(document)
    title, author = _information(document)
    title = title or next((heading.text for heading in headings if heading.level == 1), "")
    metadata: dict[str, Scalar] = {"author": author} if author else {}
    yield Document(source, text, title, (), tuple(headings), metadata)


def _information(document: Any) -> tuple[str, str]:
    """Return title and author; the library makes some up where a document says nothing of itself."""
    try:
        document.part.package.part_related_by(RELATIONSHIP_TYPE.CORE_PROPERTIES)
    except KeyError:
        return "", ""
    return document.core_properties.title, document.core_properties.author


def _content(document: Any) -> tuple[str, list[Heading]]:
    blocks: list[str] = []
    headings: list[Heading] = []
    place = 0
    for block in document.iter_inner_content():
        is_table = isinstance(block, Table)
        text = "\n".join(filter(None, map(_row, block.rows))) if is_table else block.text.strip()
        if not text:
            continue
        level = 0 if is_table else _level(block)
        if level:
            headings.append(Heading(place, level, " ".join(text.split())))
        blocks.append(text)
        place += len(text) + len(_GAP)
    return _GAP.join(blocks), headings


def _level(paragraph: Any) -> int:
    """Return the level of a heading by its style, which Word always names in English; 0 for other paragraphs."""
    name = str(paragraph.style.name) if paragraph.style is not None else ""
    word, _, number = name.partition(" ")
    if word == "Heading" and number.isdecimal():
        return int(number)
    return 1 if name == "Title" else 0


def _row(row: Any) -> str:
    """Return a row as a line; a merged cell stands in it once."""
    cells = {id(cell._tc): " ".join(cell.text.split()) for cell in row.cells}
    return " | ".join(cells.values()) if any(cells.values()) else ""
