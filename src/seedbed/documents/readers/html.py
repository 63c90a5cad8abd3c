"""Web pages as Markdown-like prose: headings, paragraphs, lists and preformatted text; the furniture is left out.

Line breaks that mean something are marked with private-use characters before all other white space is folded, so no
recursion over the tree is needed and deeply nested pages are safe. A page in another encoding than UTF-8 is read in the
one it declares.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from bs4 import BeautifulSoup, Tag
from bs4.dammit import EncodingDetector

from seedbed.documents.document import Document
from seedbed.documents.encoding import detect_encoding
from seedbed.documents.headings import markdown_headings
from seedbed.documents.limits import Limits, read_whole, unreadable

_FURNITURE = ("script", "style", "template", "noscript", "nav", "header", "footer", "aside", "form", "svg")
_BLOCKS = ("p", "div", "section", "article", "main", "ul", "ol", "dl", "table", "blockquote", "figure", "hr", "dd")
_BREAK, _LINE, _SPACE = "\ue000", "\ue001", "\ue002"
_HEADING = re.compile(r"h[1-6]")


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield one document; its title is the page's."""
    yield html_document(decode(read_whole(stream, source, limits), source), source)


def html_document(markup: str, source: str) -> Document:
    """Return the document of a page's markup."""
    text = html_text(markup)
    headings = markdown_headings(text)
    title = headings[0].text if headings and headings[0].start == 0 else ""
    return Document(source, text, title, (), headings)


def decode(data: bytes, source: str) -> str:
    """Return the bytes of a page as text. Raises DataError if they are none."""
    encoding = detect_encoding(io.BytesIO(data))
    if encoding is None:
        raise unreadable(source, "it is binary, not a web page")
    if not encoding.startswith("utf"):
        with suppress(LookupError):  # unknown, or one of Python's codecs that make no text
            return data.decode(EncodingDetector.find_declared_encoding(data, is_html=True) or encoding, "replace")
    return data.decode(encoding, "replace")


def html_text(markup: str) -> str:
    """Return the prose of a page. Headings become ``#`` lines, list items ``-`` lines, ``pre`` keeps its layout."""
    soup = BeautifulSoup(markup, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for node in soup.find_all([*_FURNITURE, "head", "title"]):
        node.decompose()
    for node in soup.find_all("pre"):
        code = node.get_text().strip("\n").replace("\n", _LINE).replace(" ", _SPACE).replace("\t", _SPACE * 4)
        node.string = f"{_BREAK}```{_LINE}{code}{_LINE}```{_BREAK}"
    for node in soup.find_all(_HEADING):
        _surround(node, f"{_BREAK}{'#' * int(node.name[1])} ", _BREAK)
    for node in soup.find_all(["li", "dt", "tr"]):
        _surround(node, f"{_LINE}- " if node.name == "li" else _LINE, "")
    for node in soup.find_all(["td", "th"]):
        node.append(" ")
    for node in soup.find_all("br"):
        node.replace_with(_LINE)
    for node in soup.find_all(_BLOCKS):
        _surround(node, _BREAK, _BREAK)
    text = _layout(soup.get_text())
    return f"# {title}\n\n{text}" if title and not re.match(r"# ", text) else text


def _surround(node: Tag, before: str, after: str) -> None:
    node.insert(0, before)
    node.append(after)


def _layout(text: str) -> str:
    text = re.sub(r"\s+", " ", text)
    text = re.sub(f" ?([{_BREAK}{_LINE}]) ?", r"\1", text)
    text = re.sub(f"{_LINE}*{_BREAK}[{_BREAK}{_LINE}]*", "\n\n", text)
    text = text.replace(_LINE, "\n").replace(_SPACE, " ")
    text = re.sub(r"^- \s+", "- ", text, flags=re.MULTILINE)
    return text.strip() + "\n"
