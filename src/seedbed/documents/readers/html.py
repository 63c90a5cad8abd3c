"""Web pages as Markdown-like prose: headings, paragraphs, lists, tables and preformatted text, without the furniture.

Line breaks that mean something are marked with private-use characters before all other white space is folded, so no
recursion over the tree is needed and deeply nested pages are safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from bs4 import Tag

from seedbed.documents.document import Document
from seedbed.documents.headings import markdown_headings
from seedbed.documents.limits import Limits, read_whole
from seedbed.documents.readers.html_furniture import remove_furniture
from seedbed.documents.readers.html_tables import table_lines
from seedbed.documents.readers.html_tree import PageTree

_BLOCKS = (
    *("p", "div", "section", "article", "main", "ul", "ol", "dl", "table", "blockquote", "figure", "hr", "caption"),
    *("header", "footer", "aside", "nav", "form", "fieldset", "address", "details", "summary", "figcaption", "iframe"),
    *("center", "legend", "hgroup", "dialog", "body"),
)
_LINES = ("li", "dt", "dd", "tr", "label", "legend", "option")
_IN_CELL = ("p", "div", "li", "dt", "dd", "br", "blockquote", "section")
_INVISIBLE = re.compile("[\u00ad\u200b\ufeff]")  # places where a word may be broken
_BREAK, _LINE, _SPACE = "\ue000", "\ue001", "\ue002"
_HEADING = re.compile(r"h[1-6]")


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield one document; its title is the page's."""
    yield html_document(read_whole(stream, source, limits).decode("utf-8-sig", "replace"), source)


def html_document(markup: str, source: str) -> Document:
    """Return the document of a page's markup."""
    text = html_text(markup)
    headings = markdown_headings(text)
    title = headings[0].text if headings and headings[0].start == 0 else ""
    return Document(source, text, title, (), headings)


def html_text(markup: str) -> str:
    """Return the prose of a page. Headings become ``#`` lines, list items ``-`` lines, ``pre`` keeps its layout."""
    soup = PageTree(markup)
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    remove_furniture(soup)
    for node in soup.find_all("table"):
        if (lines := table_lines(node, _cell_text)) is not None:
            node.string = _BREAK + _BREAK.join(lines) + _BREAK
    for node in soup.find_all("pre"):
        for line_end in node.find_all("br"):
            line_end.replace_with("\n")
        code = node.get_text().strip("\n").replace("\n", _LINE).replace(" ", _SPACE).replace("\t", _SPACE * 4)
        node.string = f"{_BREAK}```{_LINE}{code}{_LINE}```{_BREAK}"
    for node in soup.find_all(_HEADING):
        node.string = f"{_BREAK}{'#' * int(node.name[1])} {_cell_text(node)}{_BREAK}"
    for node in soup.find_all(["dd", "li"]):
        _open_first_block(node)
    for node in soup.find_all("dd"):
        before = node.find_previous_sibling(["dt", "dd"])
        node.insert(0, ": " if before is not None and before.name == "dt" else _LINE)
    for node in soup.find_all(_LINES):
        _surround(node, f"{_LINE}- " if node.name == "li" else "" if node.name == "dd" else _LINE, "")
    for node in soup.find_all(["td", "th"]):
        node.append(" ")
    for node in soup.find_all("br"):
        node.replace_with(_LINE)
    for node in soup.find_all(_BLOCKS):
        _surround(node, _BREAK, _BREAK)
    text = _layout(soup.get_text())
    return f"# {title}\n\n{text}" if title and not re.match(r"# ", text) else text


def _cell_text(node: Tag) -> str:
    """Return the text of a cell or a heading in one line; blocks in it are parted by semicolons."""
    for block in node.find_all(_IN_CELL):
        if block.name == "br":
            block.replace_with(_BREAK)
        else:
            _surround(block, _BREAK, _BREAK)
    pieces = (" ".join(piece.split()) for piece in _INVISIBLE.sub("", node.get_text()).split(_BREAK))
    return "; ".join(filter(None, pieces))


def _open_first_block(node: Tag) -> None:
    """Take away the paragraph that an item or a definition begins with, so that it goes on the line of its mark."""
    first = next((child for child in node.contents if not isinstance(child, str) or child.strip()), None)
    if isinstance(first, Tag) and first.name in ("p", "div"):
        first.unwrap()


def _surround(node: Tag, before: str, after: str) -> None:
    node.insert(0, before)
    node.append(after)


def _layout(text: str) -> str:
    text = re.sub(r"\s+", " ", _INVISIBLE.sub("", text))
    text = re.sub(f" ?([{_BREAK}{_LINE}]) ?", r"\1", text)
    text = re.sub(f"{_LINE}*{_BREAK}[{_BREAK}{_LINE}]*", "\n\n", text)
    text = text.replace(_LINE, "\n").replace(_SPACE, " ")
    text = re.sub(r"^- \s+", "- ", text, flags=re.MULTILINE)
    return text.strip() + "\n"
