"""Text of web pages: precision and recall of words, beside trafilatura on the same pages.

    SEEDBED_DATA=… python benchmarks/web_pages.py                 # the half that was only measured on
    SEEDBED_DATA=… python benchmarks/web_pages.py --half develop  # the half that thresholds were chosen on

The pages are made here, not found: texts of ``pretrain/simple-00.jsonl.xz`` in twelve skeletons that we wrote after
common sites (six for each half, with other texts), among menus, banners, teasers and footers. What is content is known
exactly; that such pages are like those of the web is our guess, and trafilatura was not made for ours. Words are
counted with their repetitions; each page counts the same.
"""

# ruff: noqa: E501 (markup)
from __future__ import annotations

import argparse
import html
import importlib
import json
import lzma
import os
import random
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seedbed.documents.readers.html import html_text

PAGES = 300
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Story:
    """A text in paragraphs, and words for the furniture around it."""

    title: str
    paragraphs: list[str]
    teasers: list[str]
    draw: random.Random


def main() -> None:
    """Print precision, recall and F1 of each extractor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["develop", "measure"], default="measure")
    parser.add_argument("--pages", type=int, default=PAGES)
    parser.add_argument("--each", action="store_true", help="also a line for each skeleton")
    options = parser.parse_args()
    extractors: dict[str, Callable[[str], str]] = {"seedbed": html_text}
    try:
        extract = importlib.import_module("trafilatura").extract
        extractors["trafilatura"] = lambda page: extract(page) or ""
        extractors["trafilatura, for recall"] = lambda page: extract(page, favor_recall=True) or ""
    except ImportError:
        print("trafilatura is not installed: left out")
    made = list(pages(options.half, options.pages))
    for name, run in extractors.items():
        scores = [(skeleton, *score(run(page), content)) for skeleton, page, content in made]
        print(f"{name:24} {_row([row[1:] for row in scores])}")
        for skeleton in dict.fromkeys(row[0] for row in scores) if options.each else ():
            print(f"  {skeleton:22} {_row([row[1:] for row in scores if row[0] == skeleton])}")


def _row(scores: list[tuple[float, ...]]) -> str:
    precision, recall = (statistics.fmean(column) for column in zip(*scores, strict=True))
    draw, f1 = random.Random(0), [2 * p * r / (p + r) if p + r else 0.0 for p, r in scores]
    means = sorted(statistics.fmean(draw.choices(f1, k=len(f1))) for _ in range(500))
    return f"precision {precision:.3f}  recall {recall:.3f}  F1 {statistics.fmean(f1):.3f} [{means[12]:.3f}, {means[487]:.3f}]"


def score(found: str, content: str) -> tuple[float, float]:
    """Return the precision and the recall of words."""
    ours, true = Counter(_WORD.findall(found.lower())), Counter(_WORD.findall(content.lower()))
    both = sum((ours & true).values())
    return both / max(1, sum(ours.values())), both / max(1, sum(true.values()))


def pages(half: str, count: int) -> Iterator[tuple[str, str, str]]:
    """Yield the skeleton, the markup and the content of pages of one half."""
    skeletons = SKELETONS[half == "measure" :: 2]
    path = Path(os.environ["SEEDBED_DATA"]) / "pretrain" / "simple-00.jsonl.xz"
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        records = (json.loads(line) for line in lines)
        texts = [[p.strip() for p in record["text"].split("\n") if len(p.strip()) > 40] for record in records]
    texts = [text for text in texts if 3 <= len(text) <= 60][half == "measure" :: 2]
    draw = random.Random(half)
    for number in range(count):
        text = draw.choice(texts)
        teasers = [draw.choice(draw.choice(texts))[:90].rsplit(" ", 1)[0] for _ in range(8)]
        title = " ".join(text[0].split()[:6])
        story = Story(
            title, [html.escape(one) for one in text[: draw.randint(3, 25)]], [*map(html.escape, teasers)], draw
        )
        skeleton = skeletons[number % len(skeletons)]
        page, content = skeleton(story)
        yield skeleton.__name__, page, html.unescape(re.sub(r"<[^>]+>", " ", content))


def _links(story: Story, count: int) -> str:
    return "".join(f'<li><a href="/{n}">{story.draw.choice(story.teasers)[:25]}</a></li>' for n in range(count))


def _menu(story: Story) -> str:
    names = ["Home", "News", "Sport", "Culture", "About us", "Contact", "Shop", "Log in"]
    return "".join(f'<a href="/{name}">{name}</a> ' for name in story.draw.sample(names, 6))


def _p(texts: list[str]) -> str:
    return "".join(f"<p>{text}</p>\n" for text in texts)


def blog(s: Story) -> tuple[str, str]:
    """A blog of HTML 5 elements, with a byline in the article's header and a note in an aside."""
    aside, rest = s.paragraphs[0], s.paragraphs[1:]
    body = f"<h1>{s.title}</h1><p>By Ada Quill, 4 May 2024</p>{_p(rest[:1])}<aside><p>{aside}</p></aside>{_p(rest[1:])}"
    related = "".join(f'<article><a href="#">{one}</a></article>' for one in s.teasers[:3])
    return (
        f"<html><body><header><a href='/'>The Daily Page</a></header><nav><ul>{_links(s, 6)}</ul></nav><main><article>"
        f"<header><h1>{s.title}</h1><p>By Ada Quill, 4 May 2024</p></header>{_p(rest[:1])}<aside><p>{aside}</p></aside>"
        f"{_p(rest[1:])}</article></main><aside><h2>More</h2>{related}</aside><footer><p>© 2024 The Daily Page. All rights "
        f"reserved.</p>{_menu(s)}</footer></body></html>",
        body,
    )


def one_form(s: Story) -> tuple[str, str]:
    """A page in one form, as ASP.NET and other frameworks make it."""
    body = f"<h1>{s.title}</h1>{_p(s.paragraphs)}"
    return (
        f"<html><body><form id='aspnetForm' action='.'><div class='topnav'>{_menu(s)}</div><div><label>Search</label>"
        f"<input><select><option>All</option><option>News</option></select><button>Go</button></div><div id='content'>{body}"
        f"</div><div class='footer'>Phone 555 0100 · Imprint</div></form></body></html>",
        body,
    )


def divs(s: Story) -> tuple[str, str]:
    """Divisions with telling classes alone."""
    body = f"<h2>{s.title}</h2>{_p(s.paragraphs)}"
    teasers = "".join(f"<div class='teaser'><h4><a href='#'>{one}</a></h4></div>" for one in s.teasers[:4])
    return (
        f"<html><body><div class='cookie-banner'>We use cookies to improve your visit. <button>Accept</button></div>"
        f"<div class='navbar'><ul>{_links(s, 7)}</ul></div><div class='wrapper has-sidebar'><div class='content'>{body}</div>"
        f"<div class='sidebar'>{teasers}<div class='newsletter'><p>Subscribe to our newsletter and never miss a post.</p>"
        f"</div></div></div><div class='site-footer'><p>Copyright 2023 by the authors.</p></div></body></html>",
        body,
    )


def unclosed(s: Story) -> tuple[str, str]:
    """A header and paragraphs that are never closed."""
    body = f"<h1>{s.title}</h1>{_p(s.paragraphs)}"
    text = "".join(f"<p>{one}\n" for one in s.paragraphs)
    return f"<html><body><header><nav>{_menu(s)}</nav><h1>{s.title}</h1>{text}<ul>{_links(s, 5)}</ul>", body


def old_tables(s: Story) -> tuple[str, str]:
    """A page that tables arrange."""
    body = f"<h1>{s.title}</h1>{_p(s.paragraphs)}"
    cells = "".join(f"<tr><td><a href='#'>{one[:20]}</a></td></tr>" for one in s.teasers)
    return (
        f"<html><body bgcolor=white><table><tr><td width=150><table>{cells}</table></td><td valign=top>{body}</td></tr>"
        f"<tr><td colspan=2><font size=1>{_menu(s)}</font></td></tr></table></body></html>",
        body,
    )


def breaks(s: Story) -> tuple[str, str]:
    """Paragraphs that line breaks part, a menu of plain links, and a list of links at the end."""
    text = "<br><br>".join(s.paragraphs)
    return (
        f"<html><body>{_menu(s)}<hr><h1>{s.title}</h1><div>{text}</div><h3>See also</h3><ul>{_links(s, 8)}</ul></body></html>",
        f"<h1>{s.title}</h1>{text}",
    )


def wiki(s: Story) -> tuple[str, str]:
    """An encyclopaedia's page: contents, a table of facts, links in the text."""
    linked = [re.sub(r"\b(\w{7,})\b", r'<a href="#">\1</a>', one, count=4) for one in s.paragraphs]
    facts = "<tr><th>Written</th><td>1876</td></tr><tr><th>Country</th><td>Norway</td></tr>"
    toc = "".join(f'<li><a href="#{n}">{n} {one[:15]}</a></li>' for n, one in enumerate(s.teasers[:5]))
    return (
        f"<html><body><div id='mw-navigation'><div role='navigation'><ul>{_links(s, 9)}</ul></div></div><div id='content' "
        f"role='main'><h1>{s.title}</h1><table class='infobox'>{facts}</table>{_p(linked[:1])}<div id='toc' class='toc'><ul>"
        f"{toc}</ul></div>{_p(linked[1:])}</div><div id='footer' role='contentinfo'><ul><li>Text is available under a licence."
        f"</li></ul></div></body></html>",
        f"<h1>{s.title}</h1><table>{facts}</table>{_p(s.paragraphs)}",
    )


def manual(s: Story) -> tuple[str, str]:
    """A manual: a long menu of chapters, code, a definition list, a note in a division."""
    code, note = "seed --all --now", s.paragraphs[0]
    body = f"<h1>{s.title}</h1>{_p(s.paragraphs[1:])}<pre>{code}</pre><div class='note'><p>{note}</p></div>"
    terms = f"<dl><dt>seed</dt><dd>{s.teasers[0]}</dd></dl>"
    return (
        f"<html><body><div class='wy-nav-side'><ul>{_links(s, 30)}</ul></div><section class='wy-nav-content'><ul class="
        f"'breadcrumbs'><li><a href='#'>Docs</a></li><li><a href='#'>Guide</a></li></ul>{body}{terms}<footer><a href='#'>Next"
        f"</a> <a href='#'>Previous</a><p>Built with a tool.</p></footer></section></body></html>",
        body + terms,
    )


def news(s: Story) -> tuple[str, str]:
    """A newspaper: share buttons, a promotion in the middle, teasers below, hidden menus."""
    middle = len(s.paragraphs) // 2
    promo = f"<div class='promo'><a href='#'>Read more: {s.teasers[0]}</a></div>"
    share = "<ul class='share-buttons'><li><a href='#'>Facebook</a></li><li><a href='#'>Mail</a></li></ul>"
    cards = "".join(f"<div class='card'><a href='#'><h3>{one}</h3></a></div>" for one in s.teasers)
    return (
        f"<html><body><div style='display:none'><ul>{_links(s, 9)}</ul></div><header class='masthead'><p>Friday edition</p>"
        f"{_menu(s)}</header><article><h1>{s.title}</h1>{share}{_p(s.paragraphs[:middle])}{promo}{_p(s.paragraphs[middle:])}"
        f"</article><section class='recommended'><h2>Recommended</h2>{cards}</section><footer><p>Contact the newsroom at the "
        f"old harbour, 12 Quay Street.</p></footer></body></html>",
        f"<h1>{s.title}</h1>{_p(s.paragraphs)}",
    )


def questions(s: Story) -> tuple[str, str]:
    """Questions and answers that open at a click."""
    pairs = [(f"{one[:30]}?", one) for one in s.paragraphs]
    opened = "".join(f"<details><summary>{q}</summary><div>{a}</div></details>" for q, a in pairs)
    body = f"<h1>{s.title}</h1>{opened}"
    return (
        f"<html><body><header><div class='logo'>Helpdesk</div><form role='search'><input><button>Search</button></form>"
        f"</header><main>{body}</main><div class='cookie-consent' id='consent'><p>This site uses cookies. Read our <a href='#'>"
        f"privacy policy</a>.</p></div></body></html>",
        body,
    )


def shop(s: Story) -> tuple[str, str]:
    """A product with a table of its properties, and others that were bought with it."""
    rows = "".join(
        f"<tr><td><p>{name}</p></td><td><p>{n} cm</p></td></tr>" for n, name in enumerate(["Width", "Depth"], 20)
    )
    body = f"<h1>{s.title}</h1>{_p(s.paragraphs[:4])}<table><tr><th>Part</th><th>Size</th></tr>{rows}</table>"
    others = "".join(f"<li><a href='#'><img src='x'>{one}</a> <span>9.99</span></li>" for one in s.teasers)
    return (
        f"<html><body><nav>{_menu(s)}</nav><div class='product'>{body}</div><div class='related-products'><h2>Others bought"
        f"</h2><ul>{others}</ul></div><footer>{_menu(s)}<small>© the shop</small></footer></body></html>",
        body,
    )


def minimal(s: Story) -> tuple[str, str]:
    """Paragraphs in the body, with a line above and below."""
    body = f"<h1>{s.title}</h1>{_p(s.paragraphs)}"
    return (
        f"<html><body><p><a href='/'>Back to the list</a></p>{body}<hr><p><a href='/1'>Next</a></p></body></html>",
        body,
    )


SKELETONS = (blog, old_tables, one_form, wiki, divs, manual, unclosed, news, breaks, questions, minimal, shop)
"""In turn one to develop on, one to measure on."""

if __name__ == "__main__":
    main()
