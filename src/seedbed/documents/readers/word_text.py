"""Text of a Word document's parts as blocks: paragraphs and tables in their order, with all that is written in them.

Read is the text as it stands when all tracked changes are accepted: insertions and moves to a place, content controls,
smart tags, links, results of fields, chosen entries of form fields, equations, rubies, text boxes, diagrams, charts and
notes (behind the paragraph that refers to them). Elements that are not known are descended into. Left out: deletions,
moves from a place, instructions of fields, and the older form of what stands there twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from seedbed.documents.readers.office_package import ALTERNATIVES, MAIN, written
from seedbed.documents.readers.symbol_fonts import character
from seedbed.documents.readers.word_equations import linear

_W = f"{{{MAIN}}}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}oMath"
_DRAWN = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_WORD_ART = "{urn:schemas-microsoft-com:vml}textpath"
_RELATED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_OFF = ("0", "false", "off")
_CHARACTERS = {"tab": "\t", "ptab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}
_LEFT_OUT = frozenset(_W + name for name in ("del", "moveFrom", "delText", "instrText", "delInstrText"))


@dataclass(frozen=True)
class TextBlock:
    """A paragraph, or rows of a table; the level of a heading, 0 for others."""

    text: str
    level: int = 0
    is_table: bool = False


@dataclass
class Story:
    """The reader of a part's text.

    Attributes:
        level: gives the level of a heading by the id of a paragraph's style.
        notes: paragraphs' containers by kind (``footnote``, ``endnote``) and id.
        related: gives the XML of a part that a drawing refers to, or None.
        unknown: symbols without a known character so far.
        hidden: text in the instructions of fields, which is none of the document's, so far.
    """

    level: Callable[[str], int]
    notes: Mapping[tuple[str, str], Any]
    related: Callable[[str], Any]
    unknown: int = 0
    hidden: list[str] = field(default_factory=list)

    def blocks(self, container: Any) -> Iterator[TextBlock]:
        """Yield the blocks in an element: a body, a cell, a note, a text box, a header."""
        return _Reading(self).blocks(container)


class _Reading:
    """One pass over an element. Fields may run over many paragraphs; one without an end is joined to the next."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._fields: list[bool] = []  # of each open field: whether its result has begun
        self._instructed: list[str] = []
        self._written: list[str] = []
        self._after: list[TextBlock] = []

    def blocks(self, container: Any) -> Iterator[TextBlock]:
        yield from self._blocks(container)
        yield from self._paragraph_end(0)

    def _blocks(self, container: Any) -> Iterator[TextBlock]:
        for child in container.iterchildren(tag="*"):
            if child.tag == f"{_W}p":
                self._inline(child)
                if not _is_joined(child):
                    yield from self._paragraph_end(self._story.level(_value(child, "pPr", "pStyle")))
            elif child.tag == f"{_W}tbl":
                yield from self._paragraph_end(0)
                yield from self._table(child)
            elif child.tag == ALTERNATIVES:
                yield from self._blocks(written(child))
            elif not _is_left_out(child):
                yield from self._blocks(child)

    def _paragraph_end(self, level: int) -> Iterator[TextBlock]:
        text, after = "".join(self._written).strip(), self._after
        self._written, self._after = [], []
        if text:
            yield TextBlock(text, level)
        yield from after

    def _inline(self, node: Any) -> None:
        for child in node.iterchildren(tag="*"):
            name = child.tag.removeprefix(_W)
            if name == "t":
                self._write(child.text or "")
            elif name in _CHARACTERS:
                self._write(_CHARACTERS[name])
            elif name in _INLINE:
                _INLINE[name](self, child)
            elif not _is_left_out(child):
                self._inline(child)

    def _write(self, text: str) -> None:
        (self._written if all(self._fields) else self._instructed).append(text)

    def _field(self, mark: Any) -> None:
        kind = mark.get(f"{_W}fldCharType")
        if kind == "begin":
            self._write(_form_value(mark))
            self._fields.append(False)
        elif kind == "separate" and self._fields:
            self._fields[-1] = True
        elif kind == "end" and self._fields:
            self._fields.pop()
            if not self._fields:  # text of a field that never ends is lost, and has to be counted as such
                self._story.hidden += [*self._instructed, " "]
                self._instructed = []

    def _symbol(self, symbol: Any) -> None:
        code = symbol.get(f"{_W}char", "")
        try:
            found = character(symbol.get(f"{_W}font", ""), int(code, 16))
        except ValueError:
            found = ""
        self._story.unknown += not found
        self._write(found)

    def _ruby(self, ruby: Any) -> None:
        """Write characters, then their reading in brackets."""
        for base in ruby.iterchildren(f"{_W}rubyBase"):
            self._inline(base)
        self._write("(")
        for reading in ruby.iterchildren(f"{_W}rt"):
            self._inline(reading)
        self._write(")")

    def _note(self, reference: Any) -> None:
        kind = reference.tag.removeprefix(_W).removesuffix("Reference")
        note = self._story.notes.get((kind, reference.get(f"{_W}id", "")))
        if note is not None:
            self._after += self._story.blocks(note)

    def _drawn(self, data: Any) -> None:
        """Read a drawing: shapes are within it, a diagram or a chart is another part."""
        self._inline(data)
        for one in data.iter("*"):
            for key in (f"{_RELATED}dm", f"{_RELATED}id"):
                part = self._story.related(one.get(key, ""))
                if part is not None:
                    self._after += map(TextBlock, drawn_texts(part))

    def _table(self, table: Any) -> Iterator[TextBlock]:
        """Yield a table: a row is a line, and a merged cell stands in each of its rows.

        A row of one cell with several paragraphs, or with a table, is no row but a frame around them.
        """
        rows: list[str] = []
        above: dict[int, list[TextBlock]] = {}
        for row in _members(table, "tr"):
            cells = list(self._cells(row, above))
            filled = [cell for cell in cells if cell]
            if len(filled) == 1 and (len(filled[0]) > 1 or filled[0][0].is_table):
                yield from _rows_block(rows)
                yield from filled[0]
                rows = []
            elif filled:
                rows.append(" | ".join(map(_line, cells)))
        yield from _rows_block(rows)

    def _cells(self, row: Any, above: dict[int, list[TextBlock]]) -> Iterator[list[TextBlock]]:
        column = int(_value(row, "trPr", "gridBefore") or 0)
        for cell in _members(row, "tc"):
            span = int(_value(cell, "tcPr", "gridSpan") or 1)
            if _property(cell, "tcPr", "hMerge") is not None and _value(cell, "tcPr", "hMerge") != "restart":
                column += span
                continue
            is_continued = _property(cell, "tcPr", "vMerge") is not None and _value(cell, "tcPr", "vMerge") != "restart"
            blocks = list(self._story.blocks(cell))
            if is_continued and not blocks:
                blocks = above.get(column, [])
            above[column] = blocks
            yield blocks
            column += span


def drawn_texts(part: Any) -> Iterator[str]:
    """Yield the paragraphs of a diagram, and the title and names of a chart, without its numbers."""
    for paragraph in part.iter(f"{_DRAWN}p"):
        if text := "".join(run.text or "" for run in paragraph.iter(f"{_DRAWN}t")).strip():
            yield text
    for cache in part.iter("{*}strCache"):
        names = ", ".join(value.text or "" for value in cache.iter("{*}v"))
        if names.strip():
            yield names


def _is_left_out(node: Any) -> bool:
    return node.tag in _LEFT_OUT or node.tag.endswith("Pr")


def _is_joined(paragraph: Any) -> bool:
    """Tell whether a paragraph's end is deleted or moved away, so that the next one goes on."""
    mark = paragraph.find(f"{_W}pPr/{_W}rPr")
    return mark is not None and any(mark.find(_W + name) is not None for name in ("del", "moveFrom"))


def _members(node: Any, name: str) -> Iterator[Any]:
    """Yield the rows of a table, or the cells of a row, also in controls and marks around them; not deleted ones."""
    for child in node.iterchildren(tag="*"):
        if child.tag == _W + name:
            if _property(child, "trPr", "del") is None and _property(child, "tcPr", "cellDel") is None:
                yield child
        elif not _is_left_out(child):
            yield from _members(child, name)


def _property(node: Any, group: str, name: str) -> Any:
    return node.find(f"{_W}{group}/{_W}{name}")


def _value(node: Any, group: str, name: str) -> str:
    found = _property(node, group, name)
    return "" if found is None else str(found.get(f"{_W}val", ""))


def _line(cell: list[TextBlock]) -> str:
    """Return a cell's blocks as one line; rows of a table in it stand between semicolons."""
    texts = ("; ".join(block.text.split("\n")) if block.is_table else block.text for block in cell)
    return " ".join(" ".join(texts).split())


def _rows_block(rows: list[str]) -> Iterator[TextBlock]:
    if rows:
        yield TextBlock("\n".join(rows), is_table=True)


def _form_value(mark: Any) -> str:
    """Return the chosen entry of a form field's list, or its box; these are no text between the marks."""
    entries = [entry.get(f"{_W}val", "") for entry in mark.iter(f"{_W}listEntry")]
    for chosen in mark.iter(f"{_W}ddList"):
        place = int(_value_of(chosen, "result") or _value_of(chosen, "default") or 0)
        return entries[place] if 0 <= place < len(entries) else ""
    for box in mark.iter(f"{_W}checkBox"):
        state = box.find(f"{_W}checked")
        state = box.find(f"{_W}default") if state is None else state
        return "☐" if state is None or state.get(f"{_W}val", "1") in _OFF else "☒"
    return ""


def _value_of(node: Any, name: str) -> str:
    found = node.find(_W + name)
    return "" if found is None else str(found.get(f"{_W}val", ""))


_INLINE: dict[str, Callable[[_Reading, Any], None]] = {
    "fldChar": _Reading._field,
    "sym": _Reading._symbol,
    "ruby": _Reading._ruby,
    "footnoteReference": _Reading._note,
    "endnoteReference": _Reading._note,
    _MATH: lambda reading, node: reading._write(linear(node)),
    ALTERNATIVES: lambda reading, node: reading._inline(written(node)),
    f"{_DRAWN}graphicData": _Reading._drawn,
    f"{_DRAWN}p": lambda reading, node: reading._after.extend(map(TextBlock, drawn_texts(node))),
    _WORD_ART: lambda reading, node: reading._after.append(TextBlock(node.get("string", ""))),
    "txbxContent": lambda reading, node: reading._after.extend(reading._story.blocks(node)),
}
