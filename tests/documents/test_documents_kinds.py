"""Mail, records, tables, XML, notebooks: all their text is read; what is not read is refused with a way out."""

from __future__ import annotations

import csv
import io
import json
import mailbox
import tarfile
from email.message import EmailMessage
from pathlib import Path

import pytest

from seedbed.core.errors import DataError
from seedbed.corpus.readers import read_documents
from seedbed.corpus.settings import SourceSettings
from seedbed.corpus.tables import TableRows
from seedbed.documents.document import Document
from seedbed.documents.file_walk import SourceFile
from seedbed.documents.readers import Skipped
from seedbed.documents.reading import read


def documents(path: Path, content: str | bytes) -> list[Document]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read(path))


def text_of(path: Path, content: str | bytes) -> str:
    [document] = documents(path, content)
    return document.text


def mail(*parts: str, kind: str = "mixed", headers: str = "Subject: x\n") -> str:
    body = "".join(f"--b\n{part}\n" for part in parts)
    return f'{headers}MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary="b"\n\n{body}--b--\n'


HTML_PART = (
    "Content-Type: text/html; charset=utf-8\n\n<table><tr><td><p>The parcel arrives on Thursday, at ten or later.</p>"
)
STUBS = ["", " \n\n", "Your program shows no HTML.", "View: https://example.org"]


@pytest.mark.parametrize("stub", STUBS)
def test_the_html_of_a_mail_is_read_where_its_text_is_empty_or_a_stub(tmp_path: Path, stub: str) -> None:
    long = HTML_PART + "<p>" + "It is brought to the door by the boat of the valley. " * 3
    content = mail(f"Content-Type: text/plain\n\n{stub}\n", long, kind="alternative")
    assert "The parcel arrives on Thursday" in text_of(tmp_path / "a.eml", content)


def test_the_text_of_a_mail_is_read_where_it_says_as_much(tmp_path: Path) -> None:
    content = mail("Content-Type: text/plain\n\nIt arrives on Thursday at ten.\n", HTML_PART, kind="alternative")
    assert text_of(tmp_path / "a.eml", content) == "It arrives on Thursday at ten.\n"


def test_the_parts_of_a_mail_attached_texts_and_mails_are_read_and_the_rest_is_said(tmp_path: Path) -> None:
    inner = EmailMessage()
    inner["From"], inner["Subject"] = "Third <third@example.org>", "Übergabe"
    inner.set_content("The mill delivers on Fridays.\n")
    outer = EmailMessage()
    outer["Subject"] = "All"
    outer.set_content("See below.\n")
    outer.add_attachment("Late fee: 12 euros.\n", filename="terms.txt")
    outer.add_attachment(inner)
    outer.add_attachment(b"%PDF", maintype="application", subtype="pdf", filename="plan.pdf")
    path = tmp_path / "a.eml"
    path.write_bytes(outer.as_bytes())
    skipped: list[Skipped] = []
    [document] = read(path, on_skip=skipped.append)
    expected = ["See below.", "terms.txt:", "Late fee: 12 euros.", "From: Third <third@example.org>\nSubject: Übergabe"]
    assert [part.strip() for part in document.text.split("\n\n") if part.strip()] == [
        *expected,
        "The mill delivers on Fridays.",
    ]
    assert document.metadata["attachments"] == "terms.txt, plan.pdf"
    assert [(one.source, one.partly) for one in skipped] == [(str(path), True)]
    assert "plan.pdf is not read; save it" in skipped[0].reason
    found = list(read_documents(SourceFile(path, "a.eml"), SourceSettings("s", str(tmp_path))))
    assert any(isinstance(one, Skipped) for one in found)


def test_pictures_in_a_mail_and_signatures_are_not_reported(tmp_path: Path) -> None:
    picture = "Content-Type: image/png\nContent-ID: <1>\nContent-Transfer-Encoding: base64\n\niVBORw0KGgo=\n"
    page = mail("Content-Type: text/html\n\n<p>Open at ten.</p>\n", picture, kind="related")
    signed = mail(
        "Content-Type: text/plain\n\nSigned.\n", "Content-Type: application/pgp-signature\n\nx\n", kind="signed"
    )
    for content, text in ((page, "Open at ten.\n"), (signed, "Signed.\n")):
        (tmp_path / "a.eml").write_text(content)
        skipped: list[Skipped] = []
        assert [one.text for one in read(tmp_path / "a.eml", on_skip=skipped.append)] == [text]
        assert not skipped


HEADERS = [
    ("Subject: =?utf-8?B?w5xiZXIgRmzDvHNzZQ==?=", "Über Flüsse"),
    ("Subject: =?iso-8859-1?Q?=DCber?=\n =?iso-8859-1?Q?_Fl=FCsse?=", "Über Flüsse"),
    ("Subject: Über Flüsse", "Über Flüsse"),  # bytes of no stated encoding, against the rules
    ("Subject: =?no-such?Q?abc?=", "abc"),
]


@pytest.mark.parametrize(("header", "subject"), HEADERS)
def test_encoded_headers(tmp_path: Path, header: str, subject: str) -> None:
    [document] = documents(tmp_path / "a.eml", f"{header}\n\nText.\n")
    assert document.title == document.metadata["subject"] == subject


def test_the_subject_of_a_mail_is_a_heading_of_its_text(tmp_path: Path) -> None:
    [document] = documents(tmp_path / "a.eml", "Subject: The parcel from Wells\n\nIt comes on Thursday.\n")
    assert [(one.start, one.text) for one in document.headings] == [(0, "The parcel from Wells")]
    assert document.text == "It comes on Thursday.\n"


def test_the_mails_of_an_archive(tmp_path: Path) -> None:
    archive = mailbox.mbox(tmp_path / "Inbox")  # the standard library is the oracle
    for number in range(3):
        message = mailbox.mboxMessage(
            f"From: a{number}@example.org\nSubject: S{number}\n\nText {number}.\n\nFrom here on.\n"
        )
        message.set_from(f"a{number}@example.org", True)
        archive.add(message)
    archive.close()
    found = list(read(tmp_path / "Inbox"))  # known by its beginning
    assert [(one.source, one.title) for one in found] == [(f"{tmp_path}/Inbox#{n}", f"S{n - 1}") for n in (1, 2, 3)]
    assert [one.text.strip() for one in found] == [f"Text {n}.\n\nFrom here on." for n in range(3)]
    with pytest.raises(DataError, match="cannot be read"):
        documents(tmp_path / "b.mbox", "no mail at all\n")


def test_a_saved_page(tmp_path: Path) -> None:
    frame = "Content-Type: text/html\nContent-Location: cid:frame\n\n<p>In the frame.</p>\n"
    style = "Content-Type: text/css\n\np {color: red}\n"
    page = (
        "Content-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<h1>Tools</h1><p>Open at=20ten.</p>\n"
    )
    content = mail(page, style, frame, kind="related", headers="From: <Saved by a browser>\nSubject: Tools\n")
    assert text_of(tmp_path / "a.mhtml", content).split() == ["#", "Tools", "Open", "at", "ten.", "In", "the", "frame."]


def test_every_field_of_a_record_is_read(tmp_path: Path) -> None:
    record = {
        "title": "Boathouse",
        "text": "A teaser.",
        "details": "The key lies under the plank. " * 10,
        "town": "Wells",
        "place": {"lake": {"name": "North"}, "piers": [{"no": 7}]},
        "rent": 1250,
        "url": "https://example.org",
    }
    [document] = documents(tmp_path / "a.jsonl", json.dumps(record))
    details = record["details"].strip() if isinstance(record["details"], str) else ""
    assert document.text.startswith(f"A teaser.\n\ndetails: {details}")
    for line in ("town: Wells", "place.lake.name: North", "place.piers.1.no: 7", "rent: 1250"):
        assert f"\n{line}" in document.text
    assert (document.metadata["town"], document.metadata["url"]) == ("Wells", "https://example.org")
    assert "url" not in document.text
    [learnt] = read_documents(SourceFile(tmp_path / "a.jsonl", "a.jsonl"), SourceSettings("s", str(tmp_path)))
    assert not isinstance(learnt, Skipped)
    assert learnt.text.strip() == f"# Boathouse\n\nA teaser.\n\ndetails: {details}"


ROWS = [
    '{"rows": [{"a": "x"}, {"a": "y"}]}',
    '{"version": 2, "Sheet1": [{"a": "x"}, {"a": "y"}]}',
    '{"response": {"items": [{"a": "x"}, {"a": "y"}], "next": null}}',
    '{"name": "export", "data": [{"a": "x"}, {"a": "y"}], "tags": ["t"]}',
    '[{"a": "x"},\n {"a": "y"}]',
    '{"a": "x"}\n{"a": "y"}\n',
    '{\n "a": "x"\n}\n{\n "a": "y"\n}',
    '\n\n{"a": "x"}\n\n{"a": "y"}',
]


@pytest.mark.parametrize("content", ROWS)
def test_the_rows_that_a_json_file_holds(tmp_path: Path, content: str) -> None:
    found = documents(tmp_path / "a.json", content)
    assert [one.text for one in found if "#" in one.source] == ["a: x", "a: y"]
    rows = TableRows([tmp_path / "a.json"], tmp_path)
    assert [row["a"] for _, row in rows] == ["x", "y"]


def test_one_record_with_a_list_in_it_stays_one(tmp_path: Path) -> None:
    content = '{"name": "Elbe", "towns": [{"town": "Ústí"}, {"town": "Hamburg"}]}'
    assert text_of(tmp_path / "a.json", content) == "name: Elbe\ntowns.1.town: Ústí\ntowns.2.town: Hamburg"
    assert [one.text for one in documents(tmp_path / "b.json", '{"made": "May", "rows": [{"a": 1}]}')] == [
        "a: 1",
        "made: May",
    ]
    with pytest.raises(DataError, match="cannot be read"):
        documents(tmp_path / "c.json", '{"a": 1} and more')


def test_long_fields_of_a_table(tmp_path: Path) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["id", "body"], [1, "word " * 60_000], [2, "short"]])
    text = text_of(tmp_path / "a.csv", out.getvalue())
    assert text.count("word") == 60_000
    assert text.endswith("id: 2\nbody: short")


def test_a_quotation_mark_that_is_never_closed(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        documents(tmp_path / "a.csv", 'a,b\n1,x\n2,"y\n3,z\n4,w\n')
    assert "line 3" in caught.value.why
    assert text_of(tmp_path / "b.csv", 'a,b\n1,x\n2,"y') == "a: 1\nb: x\n\na: 2\nb: y"  # it takes in nothing


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n", '"sep={}"\n', "\ufeffSEP={}\n", "\ufeff"])
def test_delimiters_and_the_line_that_names_them(tmp_path: Path, delimiter: str, first: str) -> None:
    content = first.format(delimiter) + delimiter.join("ab") + "\r\n" + delimiter.join(["1 5", "x"]) + "\r\n"
    assert text_of(tmp_path / "a.csv", content) == "a: 1 5\nb: x"


def test_a_table_of_tabs_by_name_may_have_commas(tmp_path: Path) -> None:
    assert text_of(tmp_path / "a.tsv", "a,b\n1,2\n") == "a: 1\nb: 2"


XML = """<?xml version="1.0"?><!DOCTYPE c [<!ENTITY e "en">]>
<c xmlns="urn:c" xmlns:x="urn:x"><book id="7" lang="de"><title>B&amp;&e;</title><x:price currency="EUR">12</x:price>
<p>One <em>two</em> three.</p><stop name="Wells" time="10:00"/></book><!-- not this -->
<note>&lt;p&gt;Fed &lt;b&gt;text&lt;/b&gt;&lt;/p&gt;</note><p>Plain.</p></c>"""


def test_xml_is_read_with_the_names_of_its_fields(tmp_path: Path) -> None:
    [document] = documents(tmp_path / "a.xml", XML)
    lines = [line for line in document.text.splitlines() if line]
    fields = [
        "title: B&en",
        "price.currency: EUR",
        "price: 12",
        "One two three.",
        "stop.name: Wells",
        "stop.time: 10:00",
    ]
    assert lines == [*fields, "note: Fed text", "Plain."]
    assert document.title == "B&en"
    assert text_of(tmp_path / "b.feed", XML) == document.text  # known by its beginning


def test_a_picture_in_svg_has_the_text_that_it_shows(tmp_path: Path) -> None:
    shown = "<g><text>Pier <tspan>two</tspan></text></g>"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><title>Map</title><style>a{{}}</style>{shown}<path d="M0"/></svg>'
    assert text_of(tmp_path / "a.svg", svg) == "Map\nPier two"
    assert documents(tmp_path / "b.svg", '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0"/></svg>') == []


def test_broken_xml_and_entities_that_expand_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        documents(tmp_path / "a.xml", "<a><b></a>")
    lines = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    with pytest.raises(DataError):
        documents(tmp_path / "b.xml", f'<!DOCTYPE a [<!ENTITY e0 "{"x" * 100}">{lines}]><a>&e11;</a>')


def test_a_notebook_is_its_cells_without_pictures(tmp_path: Path) -> None:
    png = "iVBORw0KGgo" * 20
    cells = [
        {"cell_type": "markdown", "source": ["# Tides\n", f"North. ![map](data:image/png;base64,{png})"]},
        {
            "cell_type": "code",
            "source": "print(3)",
            "outputs": [
                {"output_type": "stream", "text": ["\x1b[31m3\x1b[0m\n"]},
                {"output_type": "display_data", "data": {"image/png": png}},
                {"output_type": "execute_result", "data": {"text/html": "<p>Four</p>"}},
                {"output_type": "error", "ename": "KeyError", "evalue": "'x'"},
            ],
        },
        {"cell_type": "raw", "source": "As it is."},
    ]
    book = {"nbformat": 4, "metadata": {"kernelspec": {"language": "python"}}, "cells": cells}
    [document] = documents(tmp_path / "a.ipynb", json.dumps(book))
    fences = "```python\nprint(3)\n```\n\n```\n3\n```\n\n```\nFour\n```\n\n```\nKeyError: 'x'\n```"
    assert document.text == f"# Tides\nNorth. map\n\n{fences}\n\nAs it is.\n"
    assert document.title == "Tides"
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": "x = 1", "outputs": []}]}]}
    assert text_of(tmp_path / "b.ipynb", json.dumps(old)) == "```\nx = 1\n```\n"
    with pytest.raises(DataError, match="cannot be read"):
        documents(tmp_path / "c.ipynb", "[]")


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.addfile(tarfile.TarInfo("a.txt"), io.BytesIO(b""))
    return out.getvalue()


REFUSED = [
    ("a.rtf", rb"{\rtf1\ansi The boat shed.\par}", "save it as docx"),
    ("a.txt", rb"{\rtf1\ansi The boat shed.\par}", "save it as docx"),
    ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "save it as docx or PDF"),
    ("a.odt", b"PK\x03\x04\0\0mimetype", "save it as docx"),
    ("a", b"%!PS-Adobe-3.0\n", "convert it to PDF"),
    ("a.tar", tar(), "unpack it"),
    ("a.bin", bytes(range(256)), "convert it"),
]


@pytest.mark.parametrize(("name", "content", "way"), REFUSED)
def test_what_is_not_read_is_refused_with_the_way_out(tmp_path: Path, name: str, content: bytes, way: str) -> None:
    with pytest.raises(DataError) as caught:
        documents(tmp_path / name, content)
    assert way in caught.value.fix
    skipped: list[Skipped] = []
    assert list(read(tmp_path, on_skip=skipped.append)) == []
    assert way in skipped[0].reason


@pytest.mark.parametrize(("name", "content"), [("a.key", "A key to the map."), ("a.doc", "Plain text, named so.")])
def test_plain_text_of_a_name_that_is_refused_is_read(tmp_path: Path, name: str, content: str) -> None:
    assert text_of(tmp_path / name, content) == content


NULS = [b"A note.\0", b"The shed\0 opens at ten.\n" * 40, b"log line\n" * 200 + bytes(60) + b"log line\n" * 200]


@pytest.mark.parametrize("content", NULS)
def test_a_text_with_some_nuls_is_a_text(tmp_path: Path, content: bytes) -> None:
    assert text_of(tmp_path / "a.txt", content) == content.decode().replace("\0", "\ufffd")


@pytest.mark.parametrize("content", [b"\0\0\0\5abc", b"\x7fELF\2\1\1" + bytes(60)])
def test_what_is_full_of_nuls_is_none(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        documents(tmp_path / "a.txt", content)
