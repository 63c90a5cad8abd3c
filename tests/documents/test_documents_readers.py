"""Readers of each format: text, headings, pages, metadata; folders; what is skipped and why."""

from __future__ import annotations

import gzip
import inspect
import itertools
import json
import os
import sqlite3
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import docx
import pytest
from foreign_files import document_xml, paragraph, text_pdf, word

from seedbed.core.errors import CapacityError, DataError, NotFoundError, UsageError
from seedbed.documents.document import Document
from seedbed.documents.file_walk import folder_files
from seedbed.documents.headings import markdown_headings, python_headings, rst_headings
from seedbed.documents.limits import Limits
from seedbed.documents.readers import Skipped
from seedbed.documents.readers.sql import require_select, select
from seedbed.documents.readers.table import row_text
from seedbed.documents.reading import read

REPOSITORY = Path(__file__).parents[2]


def read_one(path: Path, limits: Limits | None = None) -> Document:
    [document] = read(path, limits)
    return document


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def outline(document: Document) -> list[tuple[int, str]]:
    """Levels and texts of the headings, each of which must stand where it says it does."""
    for heading in document.headings:
        line = document.text[heading.start :].split("\n")[0]
        assert heading.text.split()[0] in line
    return [(heading.level, heading.text) for heading in document.headings]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_plain_text_in_any_encoding_and_with_any_line_ends(tmp_path: Path, encoding: str) -> None:
    text = "Die Straße ist naß.\r\nDer Weg führt über den großen Fluß, später ins Tal.\r\n" * 3
    path = write(tmp_path / "weg.txt", text.encode(encoding))
    assert replace(read_one(path), metadata={}) == Document(str(path), text.replace("\r\n", "\n"))


def test_bytes_that_are_no_characters_become_replacement_characters(tmp_path: Path) -> None:
    document = read_one(write(tmp_path / "a.txt", "Zwölf Boxkämpfer über ".encode() * 9 + b"\xff end"))
    assert document.text.endswith("über \ufffd end")


@pytest.mark.parametrize("suffix", [".md", ".rst"])
def test_headings_of_marked_up_text(tmp_path: Path, suffix: str) -> None:
    text = "Top\n===\n\nText.\n\nInner\n-----\n\nMore.\n"
    document = read_one(write(tmp_path / f"a{suffix}", text))
    assert outline(document) == [(1, "Top"), (2, "Inner")]
    assert (document.title, document.text) == ("Top", text)


MARKDOWN = [
    "# One\ntext\n## Two ##\n### Three #\n#hash\n####### seven\n#\n    # code\n",
    "Title\n===\n\nSub title\nin two lines\n---\n\n---\n\npara\n\n===\n",
    "```\n# no\n```\n# yes\n~~~ py\n```\n# no\n~~~\n# yes\n```py\n# no",
    "text\n# interrupts\n- item\n---\n\n> quote\n---\n1. one\n===\n",
    "a\n\n    code\n---\n\nb\n  \n--\n",
    "``` not a fence ` \n# yes\n",
]


@pytest.mark.parametrize("text", MARKDOWN)
def test_markdown_headings_are_commonmarks(text: str) -> None:
    assert_commonmark(text)


@pytest.mark.parametrize("path", [*(REPOSITORY / "docs").glob("*.md"), REPOSITORY / "README.md"], ids=lambda p: p.name)
def test_headings_of_our_own_pages_are_commonmarks(path: Path) -> None:
    assert_commonmark(path.read_text())


def assert_commonmark(text: str) -> None:
    """markdown-it is the oracle; headings inside quotes and lists are left out."""
    tokens = pytest.importorskip("markdown_it").MarkdownIt("commonmark").parse(text)
    lines = text.split("\n")
    starts = [sum(len(line) + 1 for line in lines[:number]) for number in range(len(lines))]
    expected = [
        (starts[opening.map[0]], int(opening.tag[1]), " ".join(inline.content.split()))
        for opening, inline in itertools.pairwise(tokens)
        if opening.type == "heading_open" and opening.level == 0
    ]
    found = [(heading.start, heading.level, heading.text) for heading in markdown_headings(text)]
    assert found == expected


def test_a_block_of_metadata_is_no_heading() -> None:
    assert [one.text for one in markdown_headings("---\ntitle: x\n---\n# Real\n")] == ["Real"]


RST = """=====
Title
=====

Part A
======

text
more text

One
---
 - item

::

    Not
    ---

====  ====
a     b
====  ====

----

Two
---

字字
====
"""


def test_rst_headings_by_hand() -> None:
    found = [(one.level, one.text) for one in rst_headings(RST)]
    assert found == [(1, "Title"), (2, "Part A"), (3, "One"), (3, "Two"), (2, "字字")]
    assert rst_headings(RST)[0].start == 0


def test_rst_headings_are_docutils() -> None:
    core = pytest.importorskip("docutils.core", reason="the oracle is not installed")
    nodes = pytest.importorskip("docutils.nodes")
    tree = core.publish_doctree(RST, settings_overrides={"doctitle_xform": False, "report_level": 5})

    def depth(node: object) -> int:
        parent = node.parent  # type: ignore[attr-defined]
        return 0 if parent is None else depth(parent) + isinstance(parent, nodes.section)

    expected = [(depth(title), title.astext()) for title in tree.findall(nodes.title)]
    assert [(one.level, one.text) for one in rst_headings(RST)] == expected


def test_python_headings_are_the_syntax_trees(tmp_path: Path) -> None:
    import ast

    source = Path(json.__file__).with_name("decoder.py").read_text()
    tree = ast.parse(source)
    definitions = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    expected = sorted((node.lineno, node.name) for node in ast.walk(tree) if isinstance(node, definitions))
    found = python_headings(source)
    assert [(source.count("\n", 0, one.start) + 1, one.text.split()[1]) for one in found] == expected
    document = read_one(write(tmp_path / "decoder.py", source))
    assert document.heading_at(source.index("def raw_decode") + 50) == "class JSONDecoder > def raw_decode"


def test_python_in_strings_and_broken_python_is_no_obstacle() -> None:
    source = (
        'def a():\n    """\n    def no():\n    """\n    class B:\n        async def c(self): print "old"\ndef d(:\n'
    )
    assert [(one.level, one.text) for one in python_headings(source)] == [
        (1, "def a"),
        (2, "class B"),
        (3, "def c"),
        (1, "def d"),
    ]


def test_a_web_page_without_its_furniture(tmp_path: Path) -> None:
    page = (
        "<html><head><title>On Rivers</title><style>p {color: red}</style></head><body><nav>Home</nav>"
        "<h1>On Rivers</h1><script>alert(1)</script><p>They  flow.</p><h2>Long ones</h2><ul><li>Nile</ul></body></html>"
    )
    document = read_one(write(tmp_path / "a.html", page))
    assert document.text == "# On Rivers\n\nThey flow.\n\n## Long ones\n\n- Nile\n"
    assert (document.title, outline(document)) == ("On Rivers", [(1, "On Rivers"), (2, "Long ones")])


def test_a_web_page_is_read_in_the_encoding_it_declares(tmp_path: Path) -> None:
    page = "<meta charset='koi8-r'><p>Река</p>".encode("koi8-r")
    assert read_one(write(tmp_path / "a.htm", page)).text == "Река\n"


def test_pdf_pages_outline_and_information(tmp_path: Path) -> None:
    pages = ["Rivers\nA river flows.", "It ends\nin the sea.", "Lakes\nA lake stays."]
    path = write(tmp_path / "a.pdf", text_pdf(pages, [("Rivers", 0), ("Lakes", 2)], "Waters"))
    document = read_one(path)
    assert document.text == "\n".join(pages)
    assert [document.text[start:].split("\n")[0] for start in document.pages] == ["Rivers", "It ends", "Lakes"]
    assert [document.page_at(document.text.index(word)) for word in ("flows", "ends", "stays")] == [1, 2, 3]
    assert outline(document) == [(1, "Rivers"), (1, "Lakes")]
    assert document.title == "Waters"
    assert document.metadata == {"pages": 3, "author": "A. Writer"}


def test_word_headings_and_tables(tmp_path: Path) -> None:
    source = docx.Document()
    source.core_properties.title, source.core_properties.author = "Waters", "A. Writer"
    source.add_heading("Rivers", 1)
    source.add_paragraph("A river flows.")
    table = source.add_table(2, 2)
    for cell, text in zip((*table.rows[0].cells, *table.rows[1].cells), ("name", "km", "Nile", "6650"), strict=True):
        cell.text = text
    source.add_heading("Long ones", 2)
    source.save(str(tmp_path / "a.docx"))
    document = read_one(tmp_path / "a.docx")
    assert document.text == "Rivers\n\nA river flows.\n\nname | km\nNile | 6650\n\nLong ones"
    assert outline(document) == [(1, "Rivers"), (2, "Long ones")]
    assert (document.title, document.metadata) == ("Waters", {"author": "A. Writer"})


def test_a_table_is_rows_of_named_values(tmp_path: Path) -> None:
    rows = 'name;km;note\nNile;6650;"long;\nvery"\nElbe;1094;;more\n\n'
    expected = "name: Nile\nkm: 6650\nnote: long; very\n\nname: Elbe\nkm: 1094\ncolumn 4: more"
    assert read_one(write(tmp_path / "a.csv", rows)).text == expected
    assert read_one(write(tmp_path / "a.tsv", "name\tkm\nElbe, river\t1,094\n")).text == "name: Elbe, river\nkm: 1,094"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_of_a_table_is_found(tmp_path: Path, delimiter: str) -> None:
    rows = [["a", "b", "c"], ["1,5", "2 | x", "3"], ["4", "5; y", "6"]]
    content = "\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    assert read_one(write(tmp_path / "a.csv", content)).text == "a: 1,5\nb: 2 | x\nc: 3\n\na: 4\nb: 5; y\nc: 6"


def test_json_records(tmp_path: Path) -> None:
    records = [
        {"title": "Rivers", "text": "They flow.", "year": 1999, "wet": True, "tags": ["x"], "note": "n" * 501},
        {"name": "Elbe", "ends": {"sea": "North", "km": 1094, "towns": ["Ústí", "Hamburg"]}, "none": None},
        "plain",
    ]
    expected = [
        Document(
            "#1",
            f"They flow.\n\nnote: {'n' * 501}\n\nyear: 1999\nwet: true\ntags: x",
            "Rivers",
            metadata={"year": 1999, "wet": True, "prose_chars": 519},
        ),
        Document("#2", "name: Elbe\nends.sea: North\nends.km: 1094\nends.towns: Ústí, Hamburg"),
        Document("#3", "plain"),
    ]
    many = list(read(write(tmp_path / "a.json", json.dumps(records))))
    lines = list(read(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, records)))))
    assert [one.source for one in many] == [f"{tmp_path}/a.json#{number}" for number in (1, 2, 3)]
    for found in (many, lines):
        assert [(one.text, one.title, one.metadata) for one in found] == [
            (one.text, one.title, one.metadata) for one in expected
        ]
    assert read_one(write(tmp_path / "b.json", json.dumps(records[0]))).source == f"{tmp_path}/b.json"


def test_bad_lines_of_json_are_reported_and_the_others_read(tmp_path: Path) -> None:
    skipped: list[Skipped] = []
    path = write(tmp_path / "a.jsonl", '{"text": "one"}\nnope\n\n' + "[" * 100_000 + '\n{"text": "two"}\n')
    assert [document.text for document in read(path, on_skip=skipped.append)] == ["one", "two"]
    assert [one.source for one in skipped] == [f"{path}#2", f"{path}#4"]


def test_mail(tmp_path: Path) -> None:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Ä <a@example.org>", "b@example.org", "Über Flüsse"
    mail["Date"] = "Sat, 21 Nov 2026 10:00:00 +0000"
    mail.set_content("Sie fließen.\n")
    mail.add_alternative("<p>not this</p>", subtype="html")
    mail.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="fluss.pdf")
    document = read_one(write(tmp_path / "a.eml", mail.as_bytes()))
    assert document.text == "Sie fließen.\n"
    assert document.title == document.metadata["subject"] == "Über Flüsse"
    assert (document.metadata["from"], document.metadata["attachments"]) == ("Ä <a@example.org>", "fluss.pdf")


def test_mail_of_html_alone_and_in_an_unknown_encoding(tmp_path: Path) -> None:
    page = b"Subject: x\nContent-Type: text/html; charset=no-such\n\n<h1>Fl\xc3\xbcsse</h1><p>Sie ruhen.</p>"
    document = read_one(write(tmp_path / "a.eml", page))
    assert document.text == "# Flüsse\n\nSie ruhen.\n"
    subject, *headings = document.headings
    assert (subject.start, subject.text) == (0, "x")  # which stands above the text, not in it
    assert outline(replace(document, headings=tuple(headings))) == [(1, "Flüsse")]


SUBTITLES = """1
00:00:01,000 --> 00:00:02,500 X1:100
<i>Where is</i> the
{\\an8}red boat?

2
00:00:03,000 --> 00:00:04,000
- Gone at
1984

3
00:01:00.000 --> 00:01:01.000
Morning. 3 < 4 > 2.


4
00:01:01,500 --> 00:01:02,000

5
00:01:01,900 --> 00:01:02,900
5
"""


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_subtitles_are_what_is_said_a_pause_ends_a_paragraph(tmp_path: Path, ends: str) -> None:
    path = write(tmp_path / "a.srt", SUBTITLES.replace("\n", ends).encode("utf-8-sig"))
    assert read_one(path).text == "Where is the red boat? - Gone at 1984\n\nMorning. 3 < 4 > 2. 5"


def test_long_subtitles_become_parts_and_those_without_cues_are_reported(tmp_path: Path) -> None:
    cues = [f"{n}\n00:00:{n:02},000 --> 00:00:{n:02},900\nword{n}\n" for n in range(10, 30)]
    parts = list(read(write(tmp_path / "a.srt", "\n".join(cues)), Limits(part_chars=50)))
    assert [part.source for part in parts] == [f"{tmp_path}/a.srt", *(f"{tmp_path}/a.srt#{n}" for n in (2, 3))]
    assert " ".join(part.text.strip() for part in parts) == " ".join(f"word{n}" for n in range(10, 30))
    with pytest.raises(DataError, match="cannot be read"):
        list(read(write(tmp_path / "b.srt", "1\nno times\n")))


def test_a_file_without_a_known_suffix_is_known_by_its_content(tmp_path: Path) -> None:
    assert read_one(write(tmp_path / "pdf", text_pdf(["Hello"]))).pages == (0,)
    assert read_one(write(tmp_path / "page", "<!DOCTYPE html><p>Hello")).text == "Hello\n"
    assert read_one(write(tmp_path / "word", word(document_xml(paragraph("Hello"))))).text == "Hello"
    assert read_one(write(tmp_path / "README", "Hello")).text == "Hello"
    with pytest.raises(DataError, match="known kind"):
        list(read(write(tmp_path / "x.bin", bytes(range(256)))))


def test_compressed_text_is_opened(tmp_path: Path) -> None:
    assert read_one(write(tmp_path / "a.md.gz", gzip.compress(b"# Top\n"))).title == "Top"
    with pytest.raises(DataError, match="cannot be read"):
        list(read(write(tmp_path / "b.txt.gz", gzip.compress(b"text" * 1000)[:-9])))


def test_a_long_text_becomes_parts_that_join_to_it(tmp_path: Path) -> None:
    text = "".join(f"# Part {number}\n\nSome words here.\n\n" for number in range(200))
    path = write(tmp_path / "a.md", text)
    parts = list(read(path, Limits(part_chars=500)))
    assert "".join(part.text for part in parts) == text
    assert max(len(part.text) for part in parts) <= 500
    assert [part.source for part in parts[:3]] == [str(path), f"{path}#2", f"{path}#3"]
    assert all(text[int(part.metadata["offset"]) :].startswith(part.text) for part in parts[1:])
    assert all(outline(part) for part in parts)


def test_a_folder_is_read_in_order_and_bad_files_are_reported(tmp_path: Path) -> None:
    for name in ("b.txt", "a/z.txt", "a/c.md", ".hidden/x.txt", "node_modules/x.js"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, f"text of {name}")
    write(tmp_path / "bad.pdf", b"%PDF-1.7 nothing")
    write(tmp_path / "empty.txt", "  \n")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    skipped: list[Skipped] = []
    found = [Path(document.source).relative_to(tmp_path) for document in read(tmp_path, on_skip=skipped.append)]
    assert list(map(str, found)) == ["a/c.md", "a/z.txt", "b.txt"]
    reasons = {Path(one.source).name: one.reason for one in skipped}
    assert set(reasons) == {"bad.pdf", "empty.txt", "self", "gone.txt", "pipe.txt", tmp_path.name}
    assert reasons[tmp_path.name].startswith("left out: 1 a build folder, a cache or an environment, 1 hidden (")
    assert "no text" in reasons["empty.txt"]
    assert "no regular file" in reasons["pipe.txt"]
    assert len(list(folder_files(tmp_path))) == 8


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        list(read(tmp_path / "nowhere.txt"))


def test_what_can_be_neither_stored_nor_encoded_is_replaced_in_place(tmp_path: Path) -> None:
    path = write(tmp_path / "a.json", '{"text": "a\\ud800b\\u0000c", "k\\udc00": "v\\ud800"}')
    document = read_one(path)
    assert document.text == "a\ufffdb\ufffdc\n\nk\ufffd: v\ufffd"
    assert document.metadata == {"k\ufffd": "v\ufffd", "prose_chars": 5}


def test_formats_of_markitdown_name_the_extra_when_it_is_not_installed(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pptx", word(paragraph("x")))
    try:
        import markitdown  # noqa: F401
    except ImportError:
        with pytest.raises(UsageError, match="docs-all"):
            list(read(path))
    else:
        with pytest.raises(DataError):
            list(read(path))


def test_a_workbook_by_markitdown(tmp_path: Path) -> None:
    pytest.importorskip("markitdown", reason="the optional extra docs-all is not installed")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Rivers"
    book.active.append(["name", "km"])
    book.active.append(["Elbe", 1094])
    book.save(tmp_path / "a.xlsx")
    document = read_one(tmp_path / "a.xlsx")
    assert "Elbe" in document.text
    assert outline(document) == [(2, "Rivers")]


@pytest.mark.slow
def test_the_standard_librarys_documentation() -> None:
    pages = {document.source: document for document in read("stdlib")}
    decoder = pages["stdlib:json/decoder.py"]
    assert decoder.title == "json.decoder"
    sentence = inspect.getdoc(json.JSONDecoder.raw_decode).split("\n")[0]
    assert "JSONDecoder.raw_decode(" in decoder.heading_at(decoder.text.index(sentence))
    assert len(pages) > 300


SELECTS = [
    "SELECT 1",
    " -- comment; DELETE\n select a from t;",
    "WITH x AS (SELECT 1) SELECT * FROM x",
    "SELECT 'DROP TABLE t; --', \"update\", `delete`, [insert] FROM t /* ; drop */",
    "SELECT replace(a, 'x', 'y') FROM t ; -- end",
]
OTHERS = [
    "",
    "DELETE FROM t",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE t",
    "WITH x AS (DELETE FROM t RETURNING *) SELECT * FROM x",
    "SELECT * INTO u FROM t",
    "SELECT * FROM t FOR UPDATE",
    "/* x */ INSERT INTO t VALUES (1)",
    "PRAGMA table_info(t)",
    "ATTACH 'x' AS y",
    "COPY t TO PROGRAM 'x'",
    "EXPLAIN SELECT 1",
    "SELECT 1 /* unfinished */ ; /**/ VACUUM",
    "SELECT $x$ a $x$; DELETE FROM t",
]


@pytest.mark.parametrize("query", SELECTS)
def test_a_select_passes(query: str) -> None:
    require_select(query)


@pytest.mark.parametrize("query", OTHERS)
def test_other_statements_do_not_pass(query: str) -> None:
    with pytest.raises(UsageError, match="single SELECT"):
        require_select(query)


@pytest.fixture
def database(tmp_path: Path) -> str:
    pytest.importorskip("sqlalchemy", reason="the optional extra sql is not installed")
    path = tmp_path / "rivers.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE rivers (name TEXT, km INTEGER, photo BLOB)")
        connection.executemany("INSERT INTO rivers VALUES (?, ?, ?)", [("Elbe", 1094, b"x"), ("Nile", 6650, None)])
        connection.execute("CREATE VIRTUAL TABLE notes USING fts5(body)")
        connection.execute("INSERT INTO notes VALUES ('flows 100% north')")
    connection.close()
    return f"sqlite:///{path}"


def rows_of(database: str, query: str, limits: Limits | None = None) -> list[str | Skipped]:
    """The rows of a query as texts, and what was left out."""
    found = select(database, query, limits or Limits())
    return [one if isinstance(one, Skipped) else row_text(one.columns, one.values) for one in found]


def test_rows_of_a_query_are_texts(database: str) -> None:
    query = "SELECT name, km, photo FROM rivers WHERE name LIKE '%e' OR name = 'Elbe' ORDER BY km"
    assert rows_of(database, query) == ["name: Elbe\nkm: 1094", "name: Nile\nkm: 6650"]
    assert rows_of(database, "SELECT body FROM notes WHERE notes MATCH 'flows'") == ["body: flows 100% north"]


def test_rows_are_capped_and_the_cut_is_reported(database: str) -> None:
    query = "SELECT name FROM rivers"
    left = Skipped(query, "rows after the first 1 (limit `rows`)")
    assert rows_of(database, query, Limits(rows=1)) == ["name: Elbe", left]
    assert rows_of(database, query, Limits(rows=2)) == ["name: Elbe", "name: Nile"]


def test_an_endless_query_is_stopped(database: str) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(CapacityError):
        rows_of(database, endless, Limits(query_seconds=0.2))


@pytest.mark.parametrize(
    "query", ["SELECT load_extension('x')", "SELECT * FROM nowhere", "SELECT zeroblob(900000000)", "SELECT * FROM ("]
)
def test_what_the_database_refuses_is_an_error(database: str, query: str) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        rows_of(database, query)


def test_the_connection_itself_cannot_write(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even what gets past the first fence."""
    monkeypatch.setattr("seedbed.documents.readers.sql.require_select", lambda query: None)
    before = Path(database.removeprefix("sqlite:///")).read_bytes()
    for query in (
        "DELETE FROM rivers",
        "ATTACH ':memory:' AS x",
        "PRAGMA writable_schema = 1",
        "CREATE TABLE x (y)",
        "UPDATE sqlite_master SET sql = ''",
    ):
        with pytest.raises(DataError):
            rows_of(database, query)
    assert Path(database.removeprefix("sqlite:///")).read_bytes() == before


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("sqlite:///nowhere.db", NotFoundError),
        ("sqlite://", NotFoundError),
        ("mysql://x/y", UsageError),
        ("x", UsageError),
    ],
)
def test_databases_that_cannot_be_opened_read_only(database: str, address: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        rows_of(address, "SELECT 1")


def test_postgresql_is_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    address = os.environ.get("SEEDBED_TEST_POSTGRESQL")
    if not address:
        pytest.skip("SEEDBED_TEST_POSTGRESQL names no server")
    assert rows_of(address, "SELECT 1 AS one") == ["one: 1"]
    monkeypatch.setattr("seedbed.documents.readers.sql.require_select", lambda query: None)
    with pytest.raises(DataError):
        rows_of(address, "CREATE TABLE seedbed_test (x INTEGER)")
    with pytest.raises(DataError) as caught:
        rows_of(address, "SELECT lo_create(0)")  # a SELECT, but one that writes
    assert "read-only" in caught.value.why
    with pytest.raises(CapacityError):
        rows_of(address, "SELECT pg_sleep(60)", Limits(query_seconds=0.2))
