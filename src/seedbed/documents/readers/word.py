"""Word documents (docx, docm, dotx, dotm; also Strict Open XML): the text as it stands when all changes are accepted.

:mod:`.word_text` says which text of a part is read. Headers come first and footers last, each text once. Comments,
pictures and embedded files are not read, which is reported; so are words in the XML that were not found in the text.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import Any, BinaryIO

import docx
from docx.opc.constants import RELATIONSHIP_TYPE
from docx.opc.exceptions import PackageNotFoundError
from lxml import etree

from seedbed.documents.document import Document, Heading, Scalar
from seedbed.documents.limits import Limits, unreadable
from seedbed.documents.readers import Item, Skipped
from seedbed.documents.readers.office_package import MAIN, count_words, loss, ordinary, words_in_xml
from seedbed.documents.readers.word_text import Story, TextBlock
from seedbed.documents.readers.zip_limits import check_zip

_GAP = "\n\n"
_DRAWN_PARTS = frozenset({RELATIONSHIP_TYPE.DIAGRAM_DATA, RELATIONSHIP_TYPE.CHART})
_LEFT_OUT = {
    RELATIONSHIP_TYPE.COMMENTS: "comments",
    RELATIONSHIP_TYPE.A_F_CHUNK: "inserted files",
    RELATIONSHIP_TYPE.PACKAGE: "embedded files",
    RELATIONSHIP_TYPE.OLE_OBJECT: "embedded files",
}
_DEEPEST_STYLE = 10


def read(stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    """Yield one document, and reports of what was not read of it."""
    check_zip(stream, source, limits)
    try:
        document = docx.Document(ordinary(stream))
    except (PackageNotFoundError, zipfile.BadZipFile, KeyError, ValueError, etree.XMLSyntaxError) as error:
        raise unreadable(source, f"it is no Word document, or damaged: {error}") from error
    story = Story(_Styles(document).level, dict(_notes(document)), _Related(document).part)
    text, headings = _joined(_blocks(document, story))
    title, author = _information(document)
    title = title or next((heading.text for heading in headings if heading.level == 1), "")
    metadata: dict[str, Scalar] = {"author": author} if author else {}
    yield Document(source, text, title, (), tuple(headings), metadata)
    yield from loss(source, words_in_xml(document.element.body), count_words(f"{text} {''.join(story.hidden)}"))
    yield from _left_out(document, source, story.unknown)


def _information(document: Any) -> tuple[str, str]:
    """Return title and author; the library makes some up where a document says nothing of itself."""
    try:
        document.part.package.part_related_by(RELATIONSHIP_TYPE.CORE_PROPERTIES)
    except KeyError:
        return "", ""
    return document.core_properties.title, document.core_properties.author


def _blocks(document: Any, story: Story) -> Iterator[TextBlock]:
    """Yield headers, the body, footers; headers and footers of one text once, none of them a heading."""
    for kind in ("header", "footer"):
        if kind == "footer":
            yield from story.blocks(document.element.body)
        roots = (etree.fromstring(part.blob) for part in _parts(document, kind))
        texts = (block.text for root in roots for block in story.blocks(root))
        yield from map(TextBlock, dict.fromkeys(texts))


def _joined(blocks: Iterator[TextBlock]) -> tuple[str, list[Heading]]:
    texts: list[str] = []
    headings: list[Heading] = []
    place = 0
    for block in blocks:
        if block.level:
            headings.append(Heading(place, block.level, " ".join(block.text.split())))
        texts.append(block.text)
        place += len(block.text) + len(_GAP)
    return _GAP.join(texts), headings


def _parts(document: Any, kind: str) -> Iterator[Any]:
    """Yield the parts of a kind (``header``, ``footnotes`` …) that the document refers to, in their names' order."""
    related = {id(one.target_part): one.target_part for one in _relations(document) if one.reltype.endswith(f"/{kind}")}
    yield from sorted(related.values(), key=lambda part: (len(part.partname), part.partname))


def _relations(document: Any) -> list[Any]:
    return [one for one in document.part.rels.values() if not one.is_external]


def _notes(document: Any) -> Iterator[tuple[tuple[str, str], Any]]:
    for kind in ("footnote", "endnote"):
        for part in _parts(document, f"{kind}s"):
            for note in etree.fromstring(part.blob).iterchildren(f"{{{MAIN}}}{kind}"):
                yield (kind, note.get(f"{{{MAIN}}}id", "")), note


def _left_out(document: Any, source: str, unknown: int) -> Iterator[Skipped]:
    """Yield a report of what is never read, with its number."""
    counts = Counter(_LEFT_OUT[one.reltype] for one in _relations(document) if one.reltype in _LEFT_OUT)
    if counts["comments"]:
        roots = [etree.fromstring(part.blob) for part in _parts(document, "comments")]
        counts["comments"] = sum(1 for root in roots for _ in root.iterchildren(f"{{{MAIN}}}comment"))
    if unknown:
        counts["symbols of a font without known characters"] = unknown
    if found := ", ".join(f"{count:,} {name}" for name, count in counts.items() if count):
        yield Skipped(source, f"not read: {found}", partly=True)


class _Related:
    """The diagrams and charts that a document refers to, by the id of the relation."""

    def __init__(self, document: Any) -> None:
        self._parts = {one.rId: one.target_part.blob for one in _relations(document) if one.reltype in _DRAWN_PARTS}

    def part(self, identity: str) -> Any:
        """Return the XML of a part; None where there is none."""
        data = self._parts.get(identity)
        return None if data is None else etree.fromstring(data)


class _Styles:
    """The paragraph styles of a document. Word names its own in English always."""

    def __init__(self, document: Any) -> None:
        self._styles = {style.style_id: style for style in document.styles}

    def level(self, identity: str) -> int:
        """Return the level of a heading by its style, or the style that it is based on; 0 for other paragraphs."""
        style = self._styles.get(identity)
        for _ in range(_DEEPEST_STYLE):
            name = str(getattr(style, "name", "") or "")
            word, _, number = name.partition(" ")
            if word == "Heading" and number.isdecimal():
                return int(number)
            if name == "Title":
                return 1
            style = getattr(style, "base_style", None)
        return 0
