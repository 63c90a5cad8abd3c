"""Jupyter notebooks: the text of their cells, code in fences, and what code printed; no pictures.

Cells of text are Markdown as it stands, without pictures that are pasted into it. Of an output the plain form is read;
where there is only HTML, its text. Formats 3 and 4 (nbformat.readthedocs.io).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from seedbed.documents.document import Document
from seedbed.documents.headings import markdown_headings
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.readers.html import html_text
from seedbed.documents.rows import json_value

_PASTED = re.compile(r"!\[([^\]]*)\]\((?:data:|attachment:)[^)]*\)|data:[\w/+.-]+;base64,[A-Za-z0-9+/=\s]{40,}")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_FENCE = re.compile(r"^`{3,}", re.MULTILINE)


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield one document; its title is its first heading of level 1."""
    found = json_value(stream, source, limits)
    if not isinstance(found, dict) or not isinstance(cells := _cells(found), list):
        raise unreadable(
            source, "it has no cells, so it is no notebook", "save it in Jupyter again, or convert it to HTML"
        )
    info = found.get("metadata")
    language = _at(info, "kernelspec", "language") or _at(info, "language_info", "name")
    text = "\n\n".join(part for cell in cells if isinstance(cell, dict) for part in _parts(cell, language)) + "\n"
    headings = markdown_headings(text)
    title = next((heading.text for heading in headings if heading.level == 1), "")
    yield Document(source, text, title, (), headings)


def _cells(notebook: dict[str, Any]) -> Any:
    sheets = notebook.get("worksheets")
    if isinstance(sheets, list):  # format 3
        return [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or []]
    return notebook.get("cells")


def _at(table: Any, *keys: str) -> str:
    for key in keys:
        table = table.get(key) if isinstance(table, dict) else None
    return table if isinstance(table, str) else ""


def _parts(cell: dict[str, Any], language: str) -> Iterator[str]:
    """Yield the parts of a cell that are not empty."""
    text = _text(cell.get("source", cell.get("input"))).strip("\n")
    match cell.get("cell_type"):
        case "code":
            yield from _fenced(text, language)
            for output in cell.get("outputs") or []:
                yield from _fenced(_output(output) if isinstance(output, dict) else "", "")
        case "heading":
            yield f"{'#' * int(cell.get('level') or 1)} {text}"
        case _:
            if plain := _PASTED.sub(r"\1", text).strip():
                yield plain


def _output(output: dict[str, Any]) -> str:
    data = output.get("data")
    forms = data if isinstance(data, dict) else output  # format 3 has the forms in the output itself
    if output.get("output_type") in ("pyerr", "error"):
        return f"{output.get('ename', '')}: {output.get('evalue', '')}"
    if plain := _text(forms.get("text/plain", forms.get("text"))):
        return _COLOURS.sub("", plain)
    return html_text(_text(forms.get("text/html", forms.get("html"))))


def _text(lines: Any) -> str:
    """Return a text, which a notebook may hold as a list of lines."""
    return "".join(map(str, lines)) if isinstance(lines, list) else lines if isinstance(lines, str) else ""


def _fenced(text: str, language: str) -> Iterator[str]:
    if text.strip():
        fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(text))])
        yield f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"
