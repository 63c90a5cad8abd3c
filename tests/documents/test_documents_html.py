"""Web pages: what is content and what is furniture, tables, references, end tags that are left out."""

from __future__ import annotations

import html
import io

import pytest

from seedbed.documents.limits import Limits
from seedbed.documents.readers.html import html_text, read

PROSE = "The tool library lends ladders, saws and drills to everyone who lives in the valley. "
LONG = f"<p>{PROSE * 3}</p>"


@pytest.mark.parametrize("tag", ["form", "header", "footer", "aside", "nav", "noscript", 'div class="sidebar"'])
def test_an_element_that_holds_the_page_is_the_page(tag: str) -> None:
    name = tag.split()[0]
    assert PROSE.strip() in html_text(
        f"<body><{tag}><h1>Tools</h1>{LONG}</{name}><footer>© the library</footer></body>"
    )
    assert PROSE.strip() in html_text(f"<body><{tag}><h1>Tools</h1>{LONG}")  # and if it is never closed


FURNITURE = [
    "<nav><a href=1>Home</a> Pages</nav>",
    "<header><p>The Daily Page</p></header>",
    "<footer>All rights reserved</footer>",
    "<aside><a href=1>Teaser of another page</a></aside>",
    "<form><label>Search</label><input><button>Go</button></form>",
    "<div role=navigation>Somewhere else</div>",
    "<div class='cookie-banner'>We use cookies</div>",
    "<ul id=mainMenu><li><a href=1>One</a><li><a href=2>Two</a></ul>",
    "<ul><li><a href=1>One page</a><li><a href=2>Two pages</a><li><a href=3>Three</a></ul>",
    "<select><option>Red<option>Blue</select>",
    "<p hidden>Not shown</p><div style='display: none'>Nor this</div><dialog>Nor that</dialog>",
    "<noscript>Switch scripts on</noscript><template><p>Pattern</p></template>",
    "<script>let a = '<p>b</p>'</script><style>p {}</style><svg><text>logo</text></svg>",
]


@pytest.mark.parametrize("furniture", FURNITURE)
def test_furniture_is_left_out_above_and_below(furniture: str) -> None:
    expected = f"# Tools\n\n{(PROSE * 3).strip()}\n"
    assert html_text(f"<body>{furniture}<div><h1>Tools</h1>{LONG}</div></body>") == expected
    assert html_text(f"<body><div><h1>Tools</h1>{LONG}</div>{furniture}</body>") == expected


def test_an_articles_own_header_footer_and_aside_stay() -> None:
    page = (
        "<body><header><h1>Site</h1></header><article><header><h1>Tools</h1><p>By Ada, in May</p></header>"
        f"{LONG}<aside>Note: bring a bag.</aside>{LONG}<footer>Source: the archive.</footer></article></body>"
    )
    text = html_text(page)
    for part in ("By Ada, in May", "Note: bring a bag.", "Source: the archive."):
        assert part in text
    assert "Site" not in text


def test_the_only_main_heading_is_kept_though_it_stands_in_the_pages_header() -> None:
    page = f"<body><header><a href=1>Logo</a><h1>Tools</h1></header><div>{LONG}</div></body>"
    assert html_text(page) == f"# Tools\n\n{(PROSE * 3).strip()}\n"


def test_lists_of_links_are_content_in_the_text_under_a_heading_and_where_there_is_nothing_else() -> None:
    links = "<ul><li><a href=1>Form A</a><li><a href=2>Form B</a><li><a href=3>Form C</a></ul>"
    assert "- Form B" in html_text(f"<body>{LONG}{links}{LONG}</body>")
    assert "- Form B" in html_text(f"<body>{LONG}<h2>Downloads</h2>{links}</body>")
    assert "- Form B" in html_text(f"<body>{links}</body>")


def test_menus_of_a_kitchen_are_no_menus_of_links() -> None:
    page = f"<body>{LONG}<div class='menu'><p>Soup, 5 euros</p><p>Bread, 2 euros</p></div></body>"
    assert "Soup, 5 euros\n\nBread, 2 euros" in html_text(page)


def test_what_opens_at_a_click_and_pages_in_pages_are_read() -> None:
    page = (
        "<details><summary><button>When?</button></summary><p>At ten.</p></details>"
        "<p hidden='until-found'>Found later</p>"
        "<iframe srcdoc='&lt;p&gt;Inner &amp;amp; own text&lt;/p&gt;'>no frames here</iframe>"
        "<div><template shadowrootmode=open><p>Shadow</p></template></div>"
    )
    assert html_text(page).split("\n\n") == ["When?", "At ten.", "Found later", "Inner & own text", "Shadow\n"]


TABLES = [
    (  # paragraphs, lists and line breaks in cells
        "<tr><th><p>Day</p></th><th><div>Hours</div></th></tr>"
        "<tr><td><p>Saturday</p></td><td><p>9 to 12<p>14 to 15</td></tr>"
        "<tr><td>Sunday<td><ul><li>closed<li>ring<br>twice</ul></tr>",
        ["Day: Saturday | Hours: 9 to 12; 14 to 15", "Day: Sunday | Hours: closed; ring; twice"],
    ),
    (  # spans
        "<thead><tr><th rowspan=2>Boat<th colspan=2>Price<tr><th>hour<th>day</thead><tr><td rowspan=2>Canoe<td>4<td>20"
        "<tr><td>5<td>25",
        ["Boat: Canoe | Price hour: 4 | Price day: 20", "Boat: Canoe | Price hour: 5 | Price day: 25"],
    ),
    ("<tr><th>Open</th><td>ten</td></tr><tr><th>Shut:</th><td>six</td></tr>", ["Open: ten", "Shut: six"]),
    ("<tr><td>a<td>b<td>b<tr><td colspan=2>c<td>d", ["a | b | b", "c | d"]),
    ("<caption>Fees</caption><tr><th>Kind<th>Fee<tr><td>late<td>2", ["Fees", "Kind: late | Fee: 2"]),
]


@pytest.mark.parametrize(("rows", "expected"), TABLES)
def test_cells_stand_with_their_rows_and_columns(rows: str, expected: list[str]) -> None:
    assert html_text(f"<table>{rows}</table>") == "\n\n".join(expected) + "\n"


def test_a_table_that_arranges_the_page_is_no_table() -> None:
    page = (
        f"<table><tr><td><h1>Tools</h1>{LONG}<table><tr><th>Day<th>Open<tr><td>Monday<td>ten</table></td></tr></table>"
    )
    assert html_text(page) == f"# Tools\n\n{(PROSE * 3).strip()}\n\nDay: Monday | Open: ten\n"


def test_end_tags_that_may_be_left_out() -> None:
    assert html_text("<p>a<p>b<div>c</div>") == "a\n\nb\n\nc\n"
    assert html_text("<ul><li>x<li><p>y<ul><li>z</ul><li>w</ul>") == "- x\n- y\n\n- z\n\n- w\n"
    assert html_text("<dl><dt>Fee<dd><p>five<dt>Due<dd>May<dd>June</dl>") == "Fee: five\nDue: May\nJune\n"


REFERENCES = [
    "Caf&eacute; &amp; tea &#8211; &#x2013; &#150; &hellip;",
    "R&D, a & b, &; &# &#; &#x &#xZ; &#0; &#99999999; AT&T",
    "&lt;p&gt; &amp;lt; &quot;q&quot; &copy 5 &notit; &unknown; &ltimes; &frac12;&apos;",
]


@pytest.mark.parametrize("text", REFERENCES)
def test_references_are_those_of_the_standard_library(text: str) -> None:
    page = f"<p title='&quot;&gt;'>{text}</p><p>After.</p>"
    assert html_text(page) == f"{html.unescape(text)}\n\nAfter.\n"


def test_places_where_a_word_may_be_broken_are_no_part_of_it() -> None:
    assert html_text("<p>Donau&shy;dampf&#8203;schiff<wbr>fahrt H<sub>2</sub>O</p>") == "Donaudampfschifffahrt H2O\n"


def test_layout_and_line_breaks() -> None:
    page = "<p>a<br>b</p><pre>if x:\n\ty<br>z</pre><h2>A <br> B</h2>"
    assert html_text(page) == "a\nb\n\n```\nif x:\n    y\nz\n```\n\n## A; B\n"


def test_a_page_is_read_from_its_bytes() -> None:
    [document] = read(io.BytesIO(b"<title>T</title><form><p>Open at ten.</p></form>"), "a.html", Limits())
    assert (document.text, document.title) == ("# T\n\nOpen at ten.\n", "T")
