"""The furniture of a web page is removed from its tree: menus, banners, forms, scripts, what is hidden.

No name decides alone. A ``<nav>``, a ``<form>`` or a ``class="sidebar"`` that holds much of the page's text is the page
(ASP.NET puts pages in one form, and a header that is never closed takes in all that follows), and the header, footer or
aside of an article belongs to it unless it consists of links. So each candidate is judged by its share of the text that
is no link, and by the share of its own text that is. The thresholds were chosen on half of the pages of
``benchmarks/web_pages.py`` and measured on the other half.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from bs4 import BeautifulSoup, Tag
from bs4.element import NavigableString

from seedbed.documents.readers.html_tree import PageTree

_NEVER_SHOWN = ("script", "style", "svg", "head", "title", "select", "datalist", "audio", "video", "canvas")
_ROLES = {"navigation": "nav", "banner": "header", "contentinfo": "footer", "complementary": "aside", "search": "form"}
_TAGS = frozenset(("nav", "header", "footer", "aside", "form"))
_HINTED = frozenset(("div", "section", "ul", "ol", "p", "table"))
_BOUNDARY = r"(?:^|[\s_-])(?:%s)(?:$|[\s_-])"
_BESIDE = re.compile(
    _BOUNDARY % "side-?bar|cookies?|consent|gdpr|newsletter|subscribe|shar(?:e|ing)|social|advert(?:isement)?|ads?|"
    "sponsored|promo|popup|modal|copyright|skip(?:-link)?|login|footer|masthead"
)
_LINKS = re.compile(
    _BOUNDARY % "nav|navbar|navigation|menu|bread-?crumbs?|related|recommended|pagination|pager|tags|toolbar|widget|toc"
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_HIDING = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6", "summary"]
_MUCH = 0.3
"""A candidate with this share of the page's text that is no link is content."""
_LINKED = 0.5
"""A candidate of whose own text this share is links holds links, no prose."""
_LIST_LINKED, _LIST_LINKS = 0.8, 3
_PROSE = 40
"""Characters of a block without links that make it prose; links before the first such block and after the last are
menus."""


@dataclass
class _Amount:
    """Characters that are no white space of an element, and those of its links; and where its text begins and ends."""

    text: int = 0
    linked: int = 0
    links: int = 0
    first: int = -1
    last: int = -1

    @property
    def plain(self) -> int:
        return self.text - self.linked


class _Amounts:
    """The amounts of all elements of a page, by one pass over its text."""

    def __init__(self, soup: BeautifulSoup) -> None:
        self._of: defaultdict[int, _Amount] = defaultdict(_Amount)
        for link in soup.find_all("a"):
            for parent in link.parents:
                self._of[id(parent)].links += 1
        prose: defaultdict[int, int] = defaultdict(int)  # of an element's own text, with inline elements of it
        self.prose: list[int] = []
        for place, string in enumerate(soup.find_all(string=_is_text)):
            size = len("".join(string.split()))
            linked = size if string.find_parent("a") is not None else 0
            for parent in string.parents:
                amount = self._of[id(parent)]
                amount.text, amount.linked, amount.last = amount.text + size, amount.linked + linked, place
                amount.first = place if amount.first < 0 else amount.first
            block = id(_block_of(string))
            prose[block] += size - linked
            if prose[block] >= _PROSE:
                self.prose.append(place)
        self.page = self.of(soup)

    def of(self, node: Tag) -> _Amount:
        return self._of[id(node)]

    def share(self, node: Tag) -> float:
        """Return an element's share of the page's text that is no link."""
        return self.of(node).plain / max(1, self.page.plain)

    def linked(self, node: Tag) -> float:
        """Return the share of an element's text that is links."""
        return self.of(node).linked / max(1, self.of(node).text)

    def is_at_edge(self, node: Tag) -> bool:
        """Return whether all of an element stands before the page's first prose or after its last."""
        amount = self.of(node)
        return bool(self.prose) and (amount.last < self.prose[0] or amount.first > self.prose[-1])


def remove_furniture(soup: BeautifulSoup) -> None:
    """Remove from a page's tree what is no part of what it says."""
    _show_what_browsers_show(soup)
    for node in soup.find_all(_NEVER_SHOWN):
        node.decompose()
    for button in soup.find_all("button"):
        if button.find_parent(_HEADINGS) is None:
            button.decompose()
    amounts = _Amounts(soup)
    for node in soup.find_all(_is_hidden):
        if not node.decomposed and amounts.of(node).text < amounts.page.text / 2:
            node.decompose()
    amounts = _Amounts(soup)
    for node in soup.find_all(True):
        if not node.decomposed and _is_furniture(node, amounts):
            _remove(node, soup)


def _show_what_browsers_show(soup: BeautifulSoup) -> None:
    """Put the pages inside a page, and shadow trees, in their place; templates are shown by scripts alone."""
    for frame in soup.find_all("iframe"):
        inner = frame.get("srcdoc")
        frame.clear()  # for browsers without frames
        if inner:
            for node in list(PageTree(str(inner)).contents):
                frame.append(node)
    for template in soup.find_all("template"):
        if template.has_attr("shadowrootmode"):
            template.replace_with(*list(PageTree(template.decode_contents()).contents))
        else:
            template.decompose()


def _is_hidden(node: Tag) -> bool:
    if node.name in ("noscript", "dialog"):
        return not node.has_attr("open")
    return node.get("hidden", "until-found") != "until-found" or bool(_HIDING.search(str(node.get("style", ""))))


def _is_furniture(node: Tag, amounts: _Amounts) -> bool:
    """Return whether an element is none of the page's content, by its kind and its share of the text."""
    amount = amounts.of(node)
    if not amount.text or amounts.share(node) >= _MUCH:
        return False
    kind = _ROLES.get(str(node.get("role", "")).lower(), node.name)
    if kind in _TAGS:
        return amounts.linked(node) >= _LINKED if kind != "nav" and _in_content(node, kind) else True
    if node.name in _HINTED:
        hints = _CAMEL.sub("-", " ".join([*node.get_attribute_list("class"), str(node.get("id", ""))])).lower()
        if _BESIDE.search(hints) or (_LINKS.search(hints) and amounts.linked(node) >= _LINKED):
            return True
    if node.name not in ("a", "body", "html"):
        is_list = amount.links >= _LIST_LINKS and amounts.linked(node) >= _LIST_LINKED
        return is_list and amounts.is_at_edge(node) and not _in_article(node) and not _is_titled(node)
    return False


def _in_content(node: Tag, kind: str) -> bool:
    """Return whether an element stands in an article, or among paragraphs; a page's header and footer do not."""
    if _in_article(node):
        return True
    parent = node.parent
    if parent is None or (kind in ("header", "footer") and parent.name in ("body", "[document]")):
        return False
    beside = parent.find_all(["p", "pre", "blockquote"], recursive=False)
    return sum(len(one.get_text()) for one in beside) >= _PROSE


def _in_article(node: Tag) -> bool:
    return node.find_parent(["article", "main"]) is not None or node.find_parent(role="main") is not None


def _is_titled(node: Tag) -> bool:
    """Return whether a heading stands right above an element, as above a list of downloads."""
    before = node.find_previous_sibling()
    return isinstance(before, Tag) and before.name in _HEADINGS


def _remove(node: Tag, soup: BeautifulSoup) -> None:
    """Remove an element, but for the page's only main heading, which a header may hold."""
    title = node.find("h1")
    if title is not None and len(soup.find_all("h1")) == len(node.find_all("h1")):
        node.replace_with(title.extract())
    else:
        node.decompose()


def _is_text(string: str | None) -> bool:
    return type(string) is NavigableString and bool(string.strip())


def _block_of(string: NavigableString) -> Tag | None:
    return string.find_parent(["p", "li", "td", "th", "dd", "pre", "blockquote", "div", "section", "article", "body"])
