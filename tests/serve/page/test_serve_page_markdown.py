"""Markdown on the page against markdown-it, another implementation, and against text made to do harm."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from bs4 import BeautifulSoup, NavigableString, Tag
from markdown_it import MarkdownIt

Open = Callable[..., Any]
RENDER = """async (text) => {
    const { renderMarkdown } = await import("/markdown.js");
    const target = document.createElement("div");
    renderMarkdown(target, text);
    return target.innerHTML;
}"""
SAMPLES = {
    "paragraphs": "One line\nand another.\n\nA second *paragraph* with **bold** and `code`.",
    "headings": "# One\n\ntext\n## Two ##\n### Three `x`\n",
    "lists": "- one\n- two\n  - nested **bold**\n  - more\n- three\n\n1. first\n2. second\n   continued\n",
    "start": "3. three\n4. four\n\n* star\n* again",
    "loose": "- one\n\n- two\n\n  a second paragraph\n\nafter",
    "list after text": "Things:\n- a\n- b\n\nand then",
    "steps with code": "1. run\n\n   ```sh\n   make\n   ```\n\n2. done",
    "quote": "> quoted *text*\n> - with a list\n>\n> > deeper\n\nafter",
    "fence": "```python\ndef f(a):\n    return '<b>' + a * 2\n\n# **not bold**\n```\nafter",
    "open fence": "text\n\n~~~\nnot closed `yet`\n\nstill code",
    "emphasis": "***both***? no: **bold with *nested* text**, snake_case_name, 2 * 3 * 4, __init__ and _em_.",
    "code spans": "``a ` b`` and `*not em*` and a lone ` tick",
    "escapes": r"\*not em\* \# \_x\_ and a\b",
    "links": "[the *docs*](https://example.org/a?b=1&c=2) and <b>html</b> & more",
    "table": "| a | b |\n|:--|--:|\n| 1 | `x` |\n| 2 | **y** |\n\nafter",
    "rule": "above\n\n---\n\nbelow",
    "deleted": "~~gone~~ and ~one~",
    "windows": "a\r\n\r\nb",
}


def outline(html: str) -> list[Any]:
    """What matters of a document: tags, their texts and links. Headings are one level down on the page."""

    def walk(node: Tag) -> list[Any]:
        found = list[Any]()
        for child in node.children:
            if isinstance(child, NavigableString):
                if child.strip() or node.name in ("p", "li", "strong", "em"):
                    found.append(str(child))
            elif isinstance(child, Tag):
                found.append((child.name, child.get("href"), child.get("start"), walk(child)))
        return merged(found)

    return walk(BeautifulSoup(html, "html.parser"))


def merged(nodes: list[Any]) -> list[Any]:
    """Neighbouring texts as one, without the white space at the edges of a block."""
    done = list[Any]()
    for node in nodes:
        if done and isinstance(node, str) and isinstance(done[-1], str):
            done[-1] += node
        else:
            done.append(node)
    return [node.strip("\n") if isinstance(node, str) else node for node in done if node != "\n"]


def ours(html: str) -> list[Any]:
    """The page's own frame around code and tables taken away."""
    soup = BeautifulSoup(html, "html.parser")
    for frame in soup.select("div.code > div.bar"):
        frame.decompose()
    for frame in soup.select("div.code, div.scroll"):
        frame.unwrap()
    return outline(str(soup))


def theirs(text: str) -> list[Any]:
    html = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).render(text)
    for level in (3, 2, 1):
        html = html.replace(f"<h{level}>", f"<h{level + 1}>").replace(f"</h{level}>", f"</h{level + 1}>")
    html = html.replace("<s>", "<del>").replace("</s>", "</del>")
    return outline(html)


@pytest.fixture
def render(chat: Open) -> Callable[[str], str]:
    page = chat()
    return lambda text: str(page.evaluate(RENDER, text))


def test_samples_are_read_as_markdown_it_reads_them(render: Callable[[str], str]) -> None:
    for name, text in SAMPLES.items():
        assert ours(render(text)) == theirs(text), name


def test_a_stream_ends_as_the_whole_text_would(chat: Open) -> None:
    """Blocks are reused while text arrives; what is reused must be what a fresh rendering gives."""
    page = chat()
    text = "\n\n".join(SAMPLES.values())
    streamed, whole = page.evaluate(
        """async (text) => {
            const { renderMarkdown } = await import("/markdown.js");
            const [streamed, whole] = [document.createElement("div"), document.createElement("div")];
            for (let end = 0; end <= text.length; end += 3) renderMarkdown(streamed, text.slice(0, end));
            renderMarkdown(streamed, text);
            renderMarkdown(whole, text);
            return [streamed.innerHTML, whole.innerHTML];
        }""",
        text,
    )
    assert streamed == whole


def test_no_text_makes_an_element_or_a_link_that_markdown_has_not(render: Callable[[str], str]) -> None:
    hostile = ["<script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", "data:text/html,x", "&lt;", "x", " "]
    marks = [
        "[a](",
        ")",
        "**",
        "_",
        "`",
        "```",
        "\n",
        "\n\n",
        "> ",
        "- ",
        "1. ",
        "|",
        "---",
        "\\",
        '"',
        "https://a.example",
    ]
    allowed = (
        "div span button pre code p ul ol li em strong del a h2 h3 h4 h5 h6 blockquote hr table thead tbody tr th td"
    )
    chance = random.Random(1)
    for _ in range(40):
        soup = BeautifulSoup(render("".join(chance.choices(hostile + marks, k=200))), "html.parser")
        assert {tag.name for tag in soup.find_all(True)} <= set(allowed.split())
        assert all(str(link["href"]).startswith("https://") for link in soup.find_all("a"))
        assert not [name for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]


def test_no_text_hangs_the_page(render: Callable[[str], str]) -> None:
    pieces = ["[", "*", "**a", "_a ", "`", ">", "> ", "- ", "|a", "![", "~~", "\\", "https://a", "   ", "1. a\n  "]
    for piece in pieces:
        begun = time.monotonic()
        render(piece * 20_000)
        assert time.monotonic() - begun < 10, piece
