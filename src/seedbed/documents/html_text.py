"""A web page as Markdown-like prose: headings, paragraphs, lists and preformatted text; the furniture is left out.

Line breaks that mean something are marked with private-use characters before all other white space is folded, so no
recursion over the tree is needed and deeply nested pages are safe.
"""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag

_FURNITURE = ("script", "style", "template", "noscript", "nav", "header", "footer", "aside", "form", "svg")
_BLOCKS = ("p", "div", "section", "article", "main", "ul", "ol", "dl", "table", "blockquote", "figure", "hr", "dd")
_BREAK, _LINE, _SPACE = "\ue000", "\ue001", "\ue002"
_HEADING = re.compile(r"h[1-6]")


def html_text(markup: str) -> str:
    """The prose of a page. Headings become ``#`` lines, list items ``-`` lines, ``pre`` keeps its layout."""
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
