"""The tree of a web page, with the end tags that HTML lets authors leave out (HTML standard, 13.1.2.4).

Python's parser closes nothing by itself: of ``<tr><td>a<td>b`` it would put the second cell into the first. It also
takes all that follows a broken ``&#`` for text, so references are replaced before it sees them.
"""

from __future__ import annotations

import html
import re
from typing import Any

from bs4 import BeautifulSoup, Tag

_BLOCKS = (
    *(
        "address",
        "article",
        "aside",
        "blockquote",
        "details",
        "div",
        "dl",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
    ),
    *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "main", "nav", "ol", "p", "pre", "section"),
    *("table", "ul"),
)
_CELL, _ROW, _PART = ("td", "th"), ("td", "th", "tr"), ("td", "th", "tr", "thead", "tbody", "tfoot")
_ENDED = {
    **dict.fromkeys(_BLOCKS, ("p",)),
    "li": ("p", "li"),
    **dict.fromkeys(("dt", "dd"), ("p", "dt", "dd")),
    **dict.fromkeys(_CELL, ("p", *_CELL)),
    "tr": ("p", *_ROW),
    **dict.fromkeys(("thead", "tbody", "tfoot"), ("p", *_PART)),
    "option": ("option",),
}
"""Start tag → the elements that it ends."""
_SCOPES = {"p": {*_BLOCKS, "li", "dt", "dd", "td", "th", "caption", "button", "iframe", "body"} - {"p"}}
_LISTS = {"li": {"ul", "ol", "menu", "table"}, "dt": {"dl", "table"}, "dd": {"dl", "table"}, "option": {"select"}}
_TABLE = {"table"}
_REFERENCE = re.compile(r"&(?:#\d+;?|#[xX][0-9a-fA-F]+;?|[a-zA-Z][a-zA-Z0-9]*;?)?")


class PageTree(BeautifulSoup):
    """The tree of a page."""

    def __init__(self, markup: str) -> None:
        super().__init__(_REFERENCE.sub(_resolved, markup), "html.parser")

    def handle_starttag(self, name: str, *arguments: Any, **named: Any) -> Tag | None:
        """Take a start tag from the parser, which ends elements that are open."""
        ended = _ENDED.get(name, ())
        if "p" in ended:
            self._end(("p",), _SCOPES["p"])
        if rest := tuple(one for one in ended if one != "p"):
            self._end(rest, _LISTS.get(name, _TABLE))
        return super().handle_starttag(name, *arguments, **named)

    def _end(self, names: tuple[str, ...], scope: set[str]) -> None:
        """End the outermost open element of these names inside the innermost one of a scope."""
        found = ""
        for tag in reversed(self.tagStack):
            if tag.name in scope:
                break
            found = tag.name if tag.name in names else found
        if found:
            self.handle_endtag(found)


def _resolved(reference: re.Match[str]) -> str:
    """Return the characters that browsers show for a reference, written so that they are no markup."""
    return html.escape(html.unescape(reference[0]))
