"""Word documents: all that is written is read, as it stands with every change accepted; what is not read is said."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import docx
import pytest
from foreign_files import CONTENT_TYPES, WORD, word, zipped

from seedbed.documents.document import Document
from seedbed.documents.readers import Skipped
from seedbed.documents.reading import read

MATH = "http://schemas.openxmlformats.org/officeDocument/2006/math"
DRAWN = "http://schemas.openxmlformats.org/drawingml/2006/main"
RELATED = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
CHOICES = "http://schemas.openxmlformats.org/markup-compatibility/2006"
NAMESPACES = f'xmlns:w="{WORD}" xmlns:m="{MATH}" xmlns:a="{DRAWN}" xmlns:r="{RELATED}" xmlns:mc="{CHOICES}"'
DRAWING = "<w:r><w:drawing><a:graphic><a:graphicData>{}</a:graphicData></a:graphic></w:drawing></w:r>"
MORE = 'xmlns:wps="urn:wps" xmlns:v="urn:schemas-microsoft-com:vml" xmlns:dgm="urn:dgm"'


def story(name: str, body: str) -> str:
    return f'<?xml version="1.0"?><w:{name} {NAMESPACES} {MORE}>{body}</w:{name}>'


def main_part(body: str) -> str:
    return story("document", f"<w:body>{body}</w:body>")


def run(text: str) -> str:
    return f'<w:r><w:t xml:space="preserve">{text}</w:t></w:r>'


def par(*inside: str) -> str:
    return f"<w:p>{''.join(one if one.startswith('<') else run(one) for one in inside)}</w:p>"


def tag(name: str, *inside: str) -> str:
    return f"<w:{name}>{''.join(inside)}</w:{name}>"


def control(*inside: str) -> str:
    return tag("sdt", "<w:sdtPr><w:alias w:val='x'/></w:sdtPr>", tag("sdtContent", *inside))


def cell(*inside: str, properties: str = "") -> str:
    return tag("tc", f"<w:tcPr>{properties}</w:tcPr>", *inside)


def row(*cells: str) -> str:
    return tag("tr", *(one if one.startswith("<") else cell(par(one)) for one in cells))


def table(*rows: str) -> str:
    return tag("tbl", "<w:tblPr/><w:tblGrid/>", *rows)


def mark(kind: str, inside: str = "") -> str:
    return f'<w:r><w:fldChar w:fldCharType="{kind}">{inside}</w:fldChar></w:r>'


def field(instruction: str, *result: str) -> str:
    instructed = f"<w:r><w:instrText>{instruction}</w:instrText></w:r>" if instruction[:1] != "<" else instruction
    return mark("begin") + instructed + mark("separate") + "".join(result) + mark("end")


def read_word(tmp_path: Path, content: bytes, name: str = "a.docx") -> tuple[Document, list[str]]:
    """The document and what was said of it; every report must be of a file that was read in part."""
    skipped: list[Skipped] = []
    (tmp_path / name).write_bytes(content)
    [document] = read(tmp_path / name, on_skip=skipped.append)
    assert all(one.partly and one.source == document.source for one in skipped)
    return document, [one.reason for one in skipped]


def text_of(tmp_path: Path, body: str, more: dict[str, str | bytes] | None = None) -> str:
    """The text of a body of which nothing may be lost."""
    document, said = read_word(tmp_path, word(main_part(body), more))
    assert said == []
    return document.text


def relations(*targets: tuple[str, str]) -> str:
    """The relations of the main part: kind and target; their ids are rId1 …"""
    rows = (
        f'<Relationship Id="rId{number}" Type="{RELATED}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(targets, 1)
    )
    start = '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    return f"{start}{''.join(rows)}</Relationships>"


def with_parts(*parts: tuple[str, str, str]) -> dict[str, str | bytes]:
    """Parts beside the main one: kind, name, XML."""
    types = "".join(
        f'<Override PartName="/word/{name}" ContentType="application/{kind}+xml"/>' for kind, name, _ in parts
    )
    return {
        "[Content_Types].xml": CONTENT_TYPES.replace("</Types>", f"{types}</Types>"),
        "word/_rels/document.xml.rels": relations(*((kind, name) for kind, name, _ in parts)),
        **{f"word/{name}": data for _, name, data in parts},
    }


TEXTS = {
    "insertions and deletions": (
        par(
            "Notice is ",
            tag("del", "<w:r><w:delText>four weeks</w:delText></w:r>"),
            tag("ins", run("ninety days")),
            ".",
        ),
        "Notice is ninety days.",
    ),
    "moved text stands where it was moved to": (
        par("One. ", tag("moveFrom", run("Two. ")), "Three. ", tag("moveTo", run("Two."))),
        "One. Three. Two.",
    ),
    "a paragraph whose end is deleted goes on in the next": (
        par("<w:pPr><w:rPr><w:del/></w:rPr></w:pPr>", "The fee is ") + par("20 euros.") + par("End."),
        "The fee is 20 euros.\n\nEnd.",
    ),
    "deleted rows and cells": (
        table(
            row("a", "b"),
            tag("tr", "<w:trPr><w:del/></w:trPr>", cell(par(tag("del", "<w:r><w:delText>x</w:delText></w:r>")))),
            row("c", cell(par(tag("del", "<w:r><w:delText>y</w:delText></w:r>")), properties="<w:cellDel/>"), "d"),
        ),
        "a | b\nc | d",
    ),
    "a control in a line, around paragraphs, in another control": (
        par("Tenant: ", control(run("Marta "), control(run("Quill")))) + control(par("1250 euros."), par("Paid.")),
        "Tenant: Marta Quill\n\n1250 euros.\n\nPaid.",
    ),
    "controls around a table, a row and a cell": (
        control(
            table(control(row("Garage", "75 euros")), tag("tr", control(cell(par("Cellar"))), cell(par("30 euros"))))
        ),
        "Garage | 75 euros\nCellar | 30 euros",
    ),
    "smart tags, custom XML, links, writing directions": (
        par(
            tag("smartTag", run("Porto")),
            " ",
            tag("customXml", run("in")),
            " ",
            tag("hyperlink", run("May")),
            tag("bdo", run("!")),
        )
        + tag("customXml", par("Block.")),
        "Porto in May!\n\nBlock.",
    ),
    "results of fields, not their instructions": (
        par(tag("fldSimple", run("Monday")), field("DATE", run(" noon")), field("HYPERLINK x", run(" here")), "."),
        "Monday noon here.",
    ),
    "a field in the instruction of another": (
        par(
            "Dear ",
            field(field("MERGEFIELD sex", run("male")) + "<w:r><w:instrText>IF</w:instrText></w:r>", run("Sir")),
            "!",
        ),
        "Dear Sir!",
    ),
    "a field over several paragraphs": (
        par(mark("begin"), "<w:r><w:instrText>TOC</w:instrText></w:r>", mark("separate"), "One")
        + par("Two", mark("end")),
        "One\n\nTwo",
    ),
    "entries of form fields": (
        par(
            "Pet: ",
            mark(
                "begin",
                "<w:ffData><w:ddList><w:result w:val='1'/><w:listEntry w:val='cat'/><w:listEntry w:val='dog'/>"
                "</w:ddList></w:ffData>",
            ),
            mark("end"),
            " paid: ",
            mark("begin", "<w:ffData><w:checkBox><w:checked/></w:checkBox></w:ffData>"),
            mark("end"),
        ),
        "Pet: dog paid: ☒",
    ),
    "a table in a cell of a table": (
        table(row("Fees", cell(table(row("adult", "5"), row("child", "2")), par("each")))),
        "Fees | adult | 5; child | 2 each",
    ),
    "a frame of one cell is no table": (
        table(row(cell(par("Dear all,"), table(row("day", "Friday")), par("Yours")))),
        "Dear all,\n\nday | Friday\n\nYours",
    ),
    "merged cells": (
        table(
            row(cell(par("Fruit"), properties="<w:vMerge w:val='restart'/>"), "apple"),
            row(cell("<w:p/>", properties="<w:vMerge/>"), "pear"),
            row(cell(par("All"), properties="<w:gridSpan w:val='2'/>"), "3"),
        ),
        "Fruit | apple\nFruit | pear\nAll | 3",
    ),
    "a text box once, with its older form beside it": (
        par(
            "Beside.",
            f"<w:r><mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wps:txbx><w:txbxContent>{par('Boxed.')}"
            f"</w:txbxContent></wps:txbx></w:drawing></mc:Choice><mc:Fallback><w:pict><v:textbox><w:txbxContent>"
            f"{par('Boxed.')}</w:txbxContent></v:textbox></w:pict></mc:Fallback></mc:AlternateContent></w:r>",
        ),
        "Beside.\n\nBoxed.",
    ),
    "a text box in the older form alone, and one of which only that has text": (
        par(f"<w:r><w:pict><v:textbox><w:txbxContent>{par('Old.')}</w:txbxContent></v:textbox></w:pict></w:r>")
        + par(
            f"<w:r><mc:AlternateContent><mc:Choice Requires='x'><w:drawing/></mc:Choice><mc:Fallback>"
            f"<w:pict><w:txbxContent>{par('Only here.')}</w:txbxContent></w:pict>"
            "</mc:Fallback></mc:AlternateContent></w:r>"
        ),
        "Old.\n\nOnly here.",
    ),
    "word art": (par("<w:r><w:pict><v:shape><v:textpath string='Grand sale'/></v:shape></w:pict></w:r>"), "Grand sale"),
    "text of a shape that is DrawingML": (
        par(DRAWING.format("<a:p><a:r><a:t>Locked</a:t></a:r></a:p>")),
        "Locked",
    ),
    "tabs, breaks and hyphens": (
        par(
            "<w:r><w:t>a</w:t><w:tab/>"
            "<w:t>b</w:t><w:br/><w:t>c</w:t><w:cr/><w:t>well</w:t><w:noBreakHyphen/>"
            "<w:t>known co</w:t><w:softHyphen/><w:t>operation</w:t></w:r>"
        ),
        "a\tb\nc\nwell-known cooperation",
    ),
    "symbols": (
        par(
            "5 ",
            '<w:r><w:sym w:font="Symbol" w:char="F0B1"/></w:r>',
            " 1 ",
            '<w:r><w:sym w:font="Symbol" w:char="F06D"/></w:r>',
            "m ",
            '<w:r><w:sym w:font="Wingdings" w:char="F0FC"/><w:sym w:font="Arial" w:char="20AC"/></w:r>',
        ),
        "5 ± 1 μm ✓€",
    ),
    "readings of characters": (
        par(
            "<w:r><w:ruby><w:rubyPr/><w:rt>"
            "<w:r><w:t>かんじ</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>漢字</w:t></w:r></w:rubyBase></w:ruby></w:r>"
        ),
        "漢字(かんじ)",
    ),
}


@pytest.mark.parametrize("name", TEXTS)
def test_all_that_is_written_is_read(tmp_path: Path, name: str) -> None:
    body, expected = TEXTS[name]
    assert text_of(tmp_path, body) == expected


def mathematics(inside: str) -> str:
    return par(f"<m:oMath>{inside}</m:oMath>")


def letters(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


def part(name: str, inside: str) -> str:
    return f"<m:{name}>{inside}</m:{name}>"


EQUATIONS = {
    "x=1/2": letters("x=") + part("f", part("num", letters("1")) + part("den", letters("2"))),
    "(a+b)/c": part("f", part("num", letters("a+b")) + part("den", letters("c"))),
    "e^(-x)+y_1": part("sSup", part("e", letters("e")) + part("sup", letters("-x")))
    + letters("+")
    + part("sSub", part("e", letters("y")) + part("sub", letters("1"))),
    "√2": part("rad", part("radPr", "") + part("deg", "") + part("e", letters("2"))),
    "∑_(i=1)^n i": part(
        "nary",
        part("naryPr", "<m:chr m:val='∑'/>")
        + part("sub", letters("i=1"))
        + part("sup", letters("n"))
        + part("e", letters("i")),
    ),
    "[1, 0; 0, 1]": part(
        "d",
        part("dPr", "<m:begChr m:val='['/><m:endChr m:val=']'/>")
        + part(
            "e", part("m", "".join(part("mr", part("e", letters(a)) + part("e", letters(b))) for a, b in ("10", "01")))
        ),
    ),
}


@pytest.mark.parametrize("expected", EQUATIONS)
def test_equations_are_a_line(tmp_path: Path, expected: str) -> None:
    assert text_of(tmp_path, mathematics(EQUATIONS[expected])) == expected


def test_notes_stand_behind_their_paragraph(tmp_path: Path) -> None:
    notes = story(
        "footnotes",
        f'<w:footnote w:id="0">{par("")}</w:footnote><w:footnote w:id="2">{par("Only on weekdays.")}</w:footnote>',
    )
    body = par("It is open.", '<w:r><w:footnoteReference w:id="2"/></w:r>') + par("It is free.")
    more = with_parts(("footnotes", "footnotes.xml", notes))
    assert text_of(tmp_path, body, more) == "It is open.\n\nOnly on weekdays.\n\nIt is free."


def test_headers_come_first_and_footers_last_each_text_once(tmp_path: Path) -> None:
    more = with_parts(
        ("header", "header1.xml", story("hdr", par("Contract 4711"))),
        ("header", "header2.xml", story("hdr", par("Contract 4711"))),
        ("footer", "footer1.xml", story("ftr", par("Page ", tag("fldSimple", run("1"))))),
    )
    assert text_of(tmp_path, par("The rent is due."), more) == "Contract 4711\n\nThe rent is due.\n\nPage 1"


def test_diagrams_and_charts_are_read(tmp_path: Path) -> None:
    steps = "".join(f"<a:p><a:r><a:t>{step}</a:t></a:r></a:p>" for step in ("Pick", "Press"))
    diagram = f'<dgm:x xmlns:dgm="urn:dgm" xmlns:a="{DRAWN}">{steps}</dgm:x>'
    chart = (
        f'<c:x xmlns:c="urn:c" xmlns:a="{DRAWN}"><a:p><a:r><a:t>Harvest</a:t></a:r></a:p>'
        "<c:strCache><c:pt><c:v>May</c:v></c:pt><c:pt><c:v>June</c:v></c:pt></c:strCache></c:x>"
    )
    more = with_parts(("diagramData", "data1.xml", diagram), ("chart", "chart1.xml", chart))
    body = par("So:", DRAWING.format("<dgm:relIds r:dm='rId1'/>"), DRAWING.format("<dgm:chart r:id='rId2'/>"))
    assert text_of(tmp_path, body, more) == "So:\n\nPick\n\nPress\n\nHarvest\n\nMay, June"


def test_comments_and_inserted_files_are_said_to_be_left_out(tmp_path: Path) -> None:
    comments = story(
        "comments", f'<w:comment w:id="1">{par("Really?")}</w:comment><w:comment w:id="2">{par("Yes.")}</w:comment>'
    )
    more = with_parts(("comments", "comments.xml", comments), ("aFChunk", "chunk.xml", "<x/>"))
    body = par("Text.", '<w:r><w:sym w:font="Webdings" w:char="F061"/></w:r>')
    document, [said] = read_word(tmp_path, word(main_part(body), more))
    assert document.text == "Text."
    assert said == "not read: 2 comments, 1 inserted files, 1 symbols of a font without known characters"


def test_words_that_are_not_found_in_the_text_are_counted(tmp_path: Path) -> None:
    """The count knows no structure: what a reader does not know is in it all the same."""
    document, [said] = read_word(
        tmp_path, word(main_part(par("Three plain words.", "<w:laterPr><w:t>two more</w:t></w:laterPr>")))
    )
    assert document.text == "Three plain words."
    assert said.startswith("2 of its 5 words were not read (two, more …)")


def test_a_field_without_an_end_hides_nothing_in_silence(tmp_path: Path) -> None:
    body = par("Before.", mark("begin"), "<w:r><w:instrText>REF x</w:instrText></w:r>") + par("All the rest.")
    document, [said] = read_word(tmp_path, word(main_part(body)))
    assert (document.text, said[:31]) == ("Before.", "3 of its 4 words were not read ")


KINDS = {
    "a.docm": ("vnd.openxmlformats-officedocument.wordprocessingml.document", "vnd.ms-word.document.macroEnabled"),
    "a.dotx": ("wordprocessingml.document", "wordprocessingml.template"),
    "a.dotm": (
        "vnd.openxmlformats-officedocument.wordprocessingml.document",
        "vnd.ms-word.template.macroEnabledTemplate",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_templates_and_files_with_macros(tmp_path: Path, name: str) -> None:
    types = {"[Content_Types].xml": CONTENT_TYPES.replace(*KINDS[name])}
    assert types["[Content_Types].xml"] != CONTENT_TYPES
    assert read_word(tmp_path, word(main_part(par("Hello")), types), name)[0].text == "Hello"


def strict(package: bytes) -> bytes:
    """The same package in the strict form, by the namespaces of ISO/IEC 29500-1."""
    spaces = {
        WORD: "http://purl.oclc.org/ooxml/wordprocessingml/main",
        RELATED: "http://purl.oclc.org/ooxml/officeDocument/relationships",
        MATH: "http://purl.oclc.org/ooxml/officeDocument/math",
        DRAWN: "http://purl.oclc.org/ooxml/drawingml/main",
    }
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for ours, theirs in spaces.items():
        members = {name: data.replace(ours.encode(), theirs.encode()) for name, data in members.items()}
    return zipped(members)  # type: ignore[arg-type]


def test_strict_open_xml_is_read_as_the_transitional_form(tmp_path: Path) -> None:
    source = docx.Document()
    source.add_heading("Rivers", 1)
    source.add_paragraph("A river flows.")
    source.add_table(1, 2).rows[0].cells[1].text = "Nile"
    source.sections[0].header.paragraphs[0].text = "Atlas"
    out = io.BytesIO()
    source.save(out)
    package = strict(out.getvalue())
    assert RELATED.encode() not in zipfile.ZipFile(io.BytesIO(package)).read("_rels/.rels")
    document, said = read_word(tmp_path, package)
    assert (document.text, said) == ("Atlas\n\nRivers\n\nA river flows.\n\n | Nile", [])
    assert [(one.level, one.text) for one in document.headings] == [(1, "Rivers")]
    assert document.text[document.headings[0].start :].startswith("Rivers")


def test_plain_paragraphs_are_python_docxs(tmp_path: Path) -> None:
    """python-docx is the oracle where it knows everything: runs, links, tabs, breaks, styles."""
    source = docx.Document()
    source.add_heading("On rivers", 2).add_run(" and lakes")
    for words in ("They\tflow.", "They\nrest.", "  Spaces  inside. "):
        source.add_paragraph(words)
    style = source.styles.add_style("Chapter", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
    style.base_style = source.styles["Heading 1"]
    source.add_paragraph("Own style", style)
    source.save(str(tmp_path / "a.docx"))
    document, _ = read_word(tmp_path, (tmp_path / "a.docx").read_bytes())
    assert document.text == "\n\n".join(one.text.strip() for one in source.paragraphs)
    assert [(one.level, one.text) for one in document.headings] == [(2, "On rivers and lakes"), (1, "Own style")]


def test_slides_and_sheets_in_strict_form_and_with_macros_and_what_they_lose(tmp_path: Path) -> None:
    pytest.importorskip("markitdown", reason="the optional extra docs-all is not installed")
    pptx = pytest.importorskip("pptx")
    slides = pptx.Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[1])
    slide.shapes.title.text = "Harvest"
    slide.placeholders[1].text = "Apples\vand pears"
    out = io.BytesIO()
    slides.save(out)
    package = out.getvalue()
    document, said = read_word(tmp_path, strict(package), "a.pptx")
    assert ("Apples\nand pears" in document.text, said) == (True, [])
    with zipfile.ZipFile(io.BytesIO(package)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    types = members["[Content_Types].xml"].replace(
        b"openxmlformats-officedocument.presentationml.presentation", b"ms-powerpoint.slideshow.macroEnabled"
    )
    lost = f'<x xmlns:a="{DRAWN}"><a:t>Wash them</a:t><a:fld><a:t>3</a:t></a:fld></x>'.encode()
    more = {**members, "[Content_Types].xml": types, "ppt/diagrams/data1.xml": lost}
    document, [remark] = read_word(tmp_path, zipped(more), "a.pptm")  # type: ignore[arg-type]
    assert "Harvest" in document.text
    assert remark.startswith("2 of its 6 words were not read (Wash, them …)")
