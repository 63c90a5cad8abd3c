"""XML and SVG: the text between the tags; of records in XML also the names of their fields.

An element that holds text and elements (a paragraph with emphasis) is one paragraph. One that holds text alone is a
line ``name: text``, after ``name.attribute: value`` for its attributes, unless its name only says that it is text. A
picture (SVG) has the text that it shows, its titles and descriptions. HTML in a field, as feeds have it, is read as
HTML. Nothing outside the file is looked up, and the standard library's parser bounds entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO
from xml.etree import ElementTree

from seedbed.documents.document import Document
from seedbed.documents.limits import Limits, read_whole, unreadable
from seedbed.documents.readers.html import html_document, html_text

_TEXT_NAMES = frozenset(("p", "para", "simpara", "text", "paragraph", "seg", "l", "line", "v", "s", "ab", "td", "li"))
_TECHNICAL = frozenset(("id", "class", "style", "space", "lang", "schemaLocation", "nil"))
_SHOWN = frozenset(("text", "title", "desc"))
_HTML = re.compile(r"<(p|div|br|a|b|i|em|strong|ul|ol|li|h\d|table|img|span)\b[^>]*>", re.IGNORECASE)


def read_xml(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Document]:
    """Yield one document."""
    data = read_whole(stream, source, limits)
    try:
        root = ElementTree.fromstring(data)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise unreadable(source, f"it is not well-formed XML: {error}", "correct it, or convert it to text") from error
    match _name(root):
        case "html":
            yield html_document(ElementTree.tostring(root, encoding="unicode"), source)
        case "svg":
            yield Document(source, "\n".join(filter(None, map(_joined, _shown(root)))))
        case _:
            lines = list(_lines(root))
            title = next((line.removeprefix("title: ") for line in lines if line.startswith("title: ")), "")
            yield Document(source, "\n".join(lines) + "\n" * bool(lines), title)


def _shown(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    return (element for element in root.iter() if _name(element) in _SHOWN)


def _lines(root: ElementTree.Element) -> Iterator[str]:
    """Yield the lines of an element; an empty one stands before each part that has parts."""
    waiting = [root]
    while waiting:
        element = waiting.pop()
        name, is_mixed = _name(element), _is_mixed(element)
        if name == "" or (
            not is_mixed and len(element) == 0 and not (element.text or "").strip() and not element.attrib
        ):
            continue
        if is_mixed:
            yield f"\n{_joined(element)}\n"
            continue
        if len(element):
            yield ""
        yield from (f"{name}.{key}: {value}" for key, value in _attributes(element))
        if text := (element.text or "").strip():
            text = html_text(text).strip() if _HTML.search(text) else " ".join(text.split())
            yield text if name in _TEXT_NAMES else f"{name}: {text}"
        waiting += reversed(element)


def _is_mixed(element: ElementTree.Element) -> bool:
    """Return whether an element holds text beside elements."""
    if not len(element):
        return False
    return bool((element.text or "").strip()) or any((child.tail or "").strip() for child in element)


def _attributes(element: ElementTree.Element) -> Iterator[tuple[str, str]]:
    for key, value in element.attrib.items():
        name = key.rpartition("}")[2]
        if name not in _TECHNICAL and value.strip():
            yield name, " ".join(value.split())


def _joined(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def _name(element: ElementTree.Element) -> str:
    """Return a name without its namespace; "" for a comment or an instruction."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
