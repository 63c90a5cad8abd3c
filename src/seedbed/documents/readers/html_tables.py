"""Tables of a web page as paragraphs, a row each, in which every cell stands with the name of its column.

``Day: Saturday | Hours: 9 to 15`` is found and understood alone, wherever a long table is cut. Whatever marks stand in
a cell, it is one piece. Cells that span rows or columns are repeated in each. A table that only arranges a page (one
column, tables or headings inside, long texts) is not read as one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from bs4 import Tag

_LAYOUT = ["table", "h1", "h2", "h3", "h4", "h5", "h6", "pre"]
_LONG = 600
"""Characters of a cell from which a table holds passages."""
_MOST_SPAN = 100
_Row = list[tuple[str, bool]]  # text, and whether it is a heading


def table_lines(table: Tag, text_of: Callable[[Tag], str]) -> list[str] | None:
    """Return the lines of a table; None for one that only arranges the page."""
    rows = _own_rows(table)
    if table.find(_LAYOUT) is not None or len(rows) < 1:
        return None
    grid = _grid(rows, text_of)
    widest = max((len(row) for row in grid), default=0)
    if widest < 2 or any(len(text) > _LONG for row in grid for text, _ in row):
        return None
    heads = _heads(rows, grid)
    names = [_joined(row[place][0] for row in grid[:heads] if place < len(row)) for place in range(widest)]
    lines = [_line(row, names if heads else []) for row in grid[heads:]]
    caption = table.find("caption")
    title = [text_of(caption)] if isinstance(caption, Tag) else []
    return [line for line in (*title, *(lines or [" | ".join(names)])) if line]


def _own_rows(table: Tag) -> list[Tag]:
    return [row for row in table.find_all("tr") if row.find_parent("table") is table]


def _grid(rows: Sequence[Tag], text_of: Callable[[Tag], str]) -> list[_Row]:
    """Return the texts of all places; a cell that spans several is in each."""
    grid: list[_Row] = []
    below: dict[int, tuple[int, tuple[str, bool]]] = {}  # column → rows still to fill, and with what
    for row in rows:
        places: _Row = []

        def fill(places: _Row = places) -> None:
            while len(places) in below:
                left, cell = below.pop(len(places))
                if left > 1:
                    below[len(places)] = left - 1, cell
                places.append(cell)

        for cell in row.find_all(["td", "th"], recursive=False):
            fill()
            found = text_of(cell), cell.name == "th"
            for _ in range(_span(cell, "colspan")):
                if (deep := _span(cell, "rowspan")) > 1:
                    below[len(places)] = deep - 1, found
                places.append(found)
        fill()
        grid.append(places)
    return grid


def _span(cell: Tag, name: str) -> int:
    found = re.match(r"\s*(\d{1,4})", str(cell.get(name, "1")))
    return min(_MOST_SPAN, max(1, int(found[1]))) if found else 1


def _heads(rows: Sequence[Tag], grid: Sequence[_Row]) -> int:
    """Return how many rows at the top name the columns: those of ``thead``, else those of ``th`` alone."""
    named = [row.parent is not None and row.parent.name == "thead" for row in rows]
    heads = next((place for place, is_named in enumerate(named) if not is_named), len(rows))
    if not heads:
        is_head = [len(row) > 1 and all(head for _, head in row) for row in grid]
        heads = next((place for place, found in enumerate(is_head) if not found), len(grid))
    return heads


def _line(row: _Row, names: Sequence[str]) -> str:
    if not names and len(row) == 2 and row[0][1] and not row[1][1] and row[0][0]:  # a row that its first cell names
        return f"{row[0][0].removesuffix(':')}: {row[1][0]}"
    shown: list[str] = []
    for place, cell in enumerate(row):
        text, name = cell[0], names[place] if place < len(names) else ""
        spans = place > 0 and cell is row[place - 1] and not name  # one cell over columns that have no names
        if text and not spans:
            shown.append(f"{name}: {text}" if name and name != text else text)
    return " | ".join(shown)


def _joined(texts: Iterable[str]) -> str:
    return " ".join(dict.fromkeys(filter(None, texts)))
