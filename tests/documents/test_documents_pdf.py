"""PDF: encryption without a password, fonts with codes of their own, broken words, and pages without readable text."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pypdf
import pytest
from foreign_files import content_pdf, page_object, pdf, stream, text_pdf

from seedbed.core.errors import DataError
from seedbed.documents.document import Document
from seedbed.documents.readers import Skipped
from seedbed.documents.readers.hyphens import with_whole_words
from seedbed.documents.reading import read


def read_pdf(tmp_path: Path, content: bytes) -> tuple[Document, list[str]]:
    """The document and what was said of it; every report must be of a file that was read in part."""
    skipped: list[Skipped] = []
    (tmp_path / "a.pdf").write_bytes(content)
    [document] = read(tmp_path / "a.pdf", on_skip=skipped.append)
    assert all(one.partly and one.source == document.source for one in skipped)
    return document, [one.reason for one in skipped]


def pages_of(document: Document) -> list[str]:
    ends = [*document.pages[1:], len(document.text) + 1]
    return [document.text[start : end - 1] for start, end in zip(document.pages, ends, strict=True)]


def encrypted(password: str, algorithm: str) -> bytes:
    writer = pypdf.PdfWriter(io.BytesIO(text_pdf(["Hello there"])))
    writer.encrypt(password, "owner", algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.mark.parametrize("algorithm", ["RC4-40", "RC4-128", "AES-128", "AES-256-R5", "AES-256"])
def test_encryption_without_a_password_is_no_lock(tmp_path: Path, algorithm: str) -> None:
    assert read_pdf(tmp_path, encrypted("", algorithm))[0].text == "Hello there"
    (tmp_path / "b.pdf").write_bytes(encrypted("secret", algorithm))
    with pytest.raises(DataError) as caught:
        list(read(tmp_path / "b.pdf"))
    assert "locked with a password" in caught.value.why


def test_another_way_of_protection_is_named(tmp_path: Path) -> None:
    content = encrypted("", "RC4-128").replace(b"/Filter /Standard", b"/Filter /Adobe.PubSec")
    assert b"PubSec" in content
    (tmp_path / "a.pdf").write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read(tmp_path / "a.pdf"))
    assert "locked in an unknown way" in caught.value.why


# Pages


def three_pages(middle: bytes, more: Sequence[bytes] = ()) -> bytes:
    """Pages of which the first and the last have text, and the second this content; ``more`` objects begin at 10."""
    text = b"BT /F1 12 Tf 72 720 Td (%s) Tj ET"
    contents = [text % b"The key hangs in the shed.", middle, text % b"The boat leaves at dawn."]
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [4 0 R 6 0 R 8 0 R] /Count 3 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, content in zip((5, 7, 9), contents, strict=True):
        page = page_object(number)
        if more and number == 7:
            page = page.replace(b"/Resources <<", b"/Resources << /XObject << /X 10 0 R >>")
        objects += [page, stream(content)]
    return pdf([*objects, *more])


def picture(width: int, height: int) -> bytes:
    entries = b"/Type /XObject /Subtype /Image /Width %d /Height %d /ColorSpace /DeviceGray /BitsPerComponent 1"
    return stream(b"\0", entries % (width, height))


FORM = b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] "
BROKEN = b"BT /F1 12 Tf 72 720 Td [(Broken) 0 Tc 5] TJ ET"
CURVES = b"0 0 m " + b"1 1 2 2 3 3 c " * 300 + b"f"
SMALL_INLINE = b"q BI /W 1 /H 1 /BPC 8 /CS /G ID x EI Q"
MIDDLES = {
    "damaged": (BROKEN, [], "page 2 is damaged: "),
    "a picture": (b"q /X Do Q", [picture(40, 40)], "page 2: a picture in place of text; run character recognition"),
    "a scan with a stamp": (
        b"BT /F1 9 Tf 9 9 Td (Scanned by X) Tj ET q /X Do Q",
        [picture(1700, 2200)],
        "page 2: a large picture in place of text; run character recognition",
    ),
    "a picture in the content": (SMALL_INLINE, [], "page 2: a picture in place of text"),
    "letters drawn as shapes": (CURVES, [], "page 2: shapes in place of text"),
    "a picture in a form": (
        b"/X Do",
        [
            stream(
                b"/Y Do", b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /Y 11 0 R >> >>"
            ),
            picture(40, 40),
        ],
        "page 2: a picture in place of text",
    ),
    "a form that is damaged": (
        b"BT /F1 12 Tf 72 720 Td (It says:) Tj ET /X Do",
        [stream(BROKEN, FORM + b"/Resources << /Font << /F1 3 0 R >> >>")],
        "page 2 is damaged: Impossible to decode",
    ),
}


@pytest.mark.parametrize("name", MIDDLES)
def test_a_page_without_readable_text_is_said_and_the_others_read(tmp_path: Path, name: str) -> None:
    middle, more, expected = MIDDLES[name]
    document, [said] = read_pdf(tmp_path, three_pages(middle, more))
    assert said.startswith(expected)
    first, _, last = pages_of(document)
    assert (first, last) == ("The key hangs in the shed.", "The boat leaves at dawn.")


@pytest.mark.parametrize("middle", [b"", b"q Q", b"1 g 0 0 612 792 re f", b"BT /F1 12 Tf 72 720 Td ( ) Tj ET"])
def test_an_empty_page_and_a_small_picture_beside_text_are_nothing_to_say(tmp_path: Path, middle: bytes) -> None:
    assert read_pdf(tmp_path, three_pages(middle))[1] == []
    with_logo = b"BT /F1 9 Tf 9 9 Td (A short page) Tj ET /X Do"
    assert read_pdf(tmp_path, three_pages(with_logo, [picture(40, 40)]))[1] == []


def test_a_file_of_pictures_alone_says_how_to_get_its_text(tmp_path: Path) -> None:
    skipped: list[Skipped] = []
    (tmp_path / "a.pdf").write_bytes(content_pdf(SMALL_INLINE))
    assert list(read(tmp_path / "a.pdf", on_skip=skipped.append)) == []
    [only] = skipped
    assert not only.partly
    assert only.reason.startswith(
        "there is no text in it: page 1: a picture in place of text; run character recognition"
    )


def test_a_file_of_which_no_page_can_be_read_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(content_pdf(BROKEN))
    with pytest.raises(DataError):
        list(read(tmp_path / "a.pdf"))


def test_a_filled_form_is_said_to_be_unread(tmp_path: Path) -> None:
    catalogue = b"<< /Type /Catalog /Pages 2 0 R /AcroForm << /Fields [6 0 R] >> >>"
    objects = [
        catalogue,
        b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        page_object(5),
        stream(b"BT /F1 12 Tf 72 720 Td (Name:) Tj ET"),
        b"<< /FT /Tx /T (name) /V (Marta Quill) >>",
    ]
    document, [said] = read_pdf(tmp_path, pdf(objects))
    assert document.text == "Name:"
    assert said.startswith("1 filled fields of its form were not read")


# Codes


def composite_pdf(codes: bytes, encoding: bytes, to_unicode: bytes = b"", ordering: bytes = b"Identity") -> bytes:
    """A page of one string in a composite font; ``encoding`` is a name or the body of a map of codes."""
    embedded = encoding[:1] != b"/"
    entries = (b"/ToUnicode 8 0 R" if to_unicode else b"") + b" /Encoding " + (b"9 0 R" if embedded else encoding)
    return pdf(
        [
            b"<< /Type /Catalog /Pages 2 0 R >>",
            b"<< /Type /Pages /Kids [4 0 R] /Count 1 >>",
            b"<< /Type /Font /Subtype /Type0 /BaseFont /Own %s /DescendantFonts [6 0 R] >>" % entries,
            page_object(5),
            stream(b"BT /F1 12 Tf 72 720 Td <%s> Tj ET" % codes.hex().encode()),
            b"<< /Type /Font /Subtype /CIDFontType0 /BaseFont /Own /FontDescriptor 7 0 R"
            b" /CIDSystemInfo << /Registry (Adobe) /Ordering (%s) /Supplement 0 >> >>" % ordering,
            b"<< /Type /FontDescriptor /FontName /Own /Flags 32 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 900"
            b" /Descent -200 /CapHeight 700 /StemV 80 >>",
            stream(to_unicode),
            stream(encoding if embedded else b""),
        ]
    )


def unicode_map(codes: dict[bytes, str], separator: bytes = b" ") -> bytes:
    rows = (
        b"<%s> <%s>" % (code.hex().encode(), text.encode("utf-16-be").hex().encode()) for code, text in codes.items()
    )
    return b"%d beginbfchar %s endbfchar" % (len(codes), separator.join(rows))


MIXED = b"2 begincodespacerange <20> <7e> <8000> <ffff> endcodespacerange"
GREEK = {chr(0x8100 + place).encode("utf-16-be"): letter for place, letter in enumerate("γνῶθισεαυτόν")}


@pytest.mark.parametrize("separator", [b" ", b"\n"])
def test_codes_of_one_and_two_bytes_side_by_side(tmp_path: Path, separator: bytes) -> None:
    """Each code is the font's own: none is the Unicode of its letter, and the space is one byte."""
    code_of = {letter: code for code, letter in GREEK.items()} | {" ": b"\x20"}
    text = "γνῶθι σεαυτόν"
    codes = b"".join(code_of[letter] for letter in text)
    mapped = unicode_map({b"\x20": " ", **GREEK}, separator)
    document, said = read_pdf(tmp_path, composite_pdf(codes, MIXED, mapped))
    assert (document.text, said) == (text, [])


def test_ranges_of_a_map_on_one_line(tmp_path: Path) -> None:
    two_bytes = b"1 begincodespacerange <0000> <ffff> endcodespacerange"
    mapped = b"2 beginbfrange <0001> <0003> <0061> <0101> <0102> [<0078> <0079>] endbfrange"
    codes = b"\0\1\0\2\0\3\1\1\1\2"
    assert read_pdf(tmp_path, composite_pdf(codes, two_bytes, mapped))[0].text == "abcxy"


def test_glyph_numbers_without_a_map_are_no_text(tmp_path: Path) -> None:
    """Read as Unicode they would be other letters: 'Hello' three codes on."""
    codes = "".join(chr(ord(letter) + 3) for letter in "Hello").encode("utf-16-be")
    (tmp_path / "a.pdf").write_bytes(composite_pdf(codes, b"/Identity-H"))
    skipped: list[Skipped] = []
    assert list(read(tmp_path / "a.pdf", on_skip=skipped.append)) == []
    assert "page 1: 5 of 5 characters are codes without a meaning; run character recognition" in skipped[0].reason


def test_private_codes_and_control_codes(tmp_path: Path) -> None:
    shown = "\uf0b7 item in \uf731\uf739\uf739\uf739, o\0f n\ue123te"
    codes = {bytes((1, place)): letter for place, letter in enumerate(shown)}
    two_bytes = b"1 begincodespacerange <0000> <ffff> endcodespacerange"
    document, [said] = read_pdf(tmp_path, composite_pdf(b"".join(codes), two_bytes, unicode_map(codes)))
    assert document.text == "• item in 1999, of n\ue123te"
    assert said.startswith("page 1: 1 of ")


def test_ligatures_and_presentation_forms_stay_as_the_file_has_them(tmp_path: Path) -> None:
    shown = "The ﬁrst oﬃce ﻻ"
    codes = {bytes((1, place)): letter for place, letter in enumerate(shown)}
    two_bytes = b"1 begincodespacerange <0000> <ffff> endcodespacerange"
    document, said = read_pdf(tmp_path, composite_pdf(b"".join(codes), two_bytes, unicode_map(codes)))
    assert (document.text, said) == (shown, [])


# Words at the ends of lines

WHOLE = {
    "reim-\nburse all": "reimburse all",
    "Volun-\nteers": "Volunteers",
    "a well-\nknown rule": "a well-known rule",
    "a risk-\nbased plan, un-\nknown": "a risk-based plan, unknown",
    "the ill-\nness of high-\nlight and low-\nlevel": "the illness of highlight and low-level",
    "a hard-\ncover; the hardcover": "a hardcover; the hardcover",
    "CUR-\nRENT and current": "CURRENT and current",
    "a co-\nop, the co-op": "a co-op, the co-op",
    "soft\u00ad\nware": "software",
    "Haus-\nbau, Vor-\nund Nachteile": "Hausbau, Vor-\nund Nachteile",
    "pre-\nand post-war": "pre-\nand post-war",
    "state-of-\nthe-art and up-\nto-date": "state-of-\nthe-art and up-\nto-date",
    "INV-\n2024, AB1-\nxy, 10-\n20, 555-\n1234": "INV-\n2024, AB1-\nxy, 10-\n20, 555-\n1234",
    "Jean-\nPaul, UTF-\nENCODED, e-\nmail": "Jean-\nPaul, UTF-\nENCODED, email",
    "a -\nnext item\n- list": "a -\nnext item\n- list",
    "mail a@some-\nhost.org": "mail a@some-\nhost.org",
}


@pytest.mark.parametrize("broken", WHOLE)
def test_words_at_the_end_of_a_line_are_whole_where_that_is_right(broken: str) -> None:
    assert with_whole_words(broken)[0] == WHOLE[broken]


def test_places_move_with_the_words() -> None:
    text = "one two-\nthree reim-\nburse four volun-\nteer five"
    joined, place_of = with_whole_words(text)
    assert joined == "one two-three reimburse four volunteer five"
    for word in ("one", "reim", "four", "five"):
        assert joined[place_of(text.index(word)) :].startswith(word)
    assert joined[: place_of(text.index("-\nburse") + 1)] == "one two-three reim"  # within what was taken away


def test_a_word_over_the_end_of_a_page(tmp_path: Path) -> None:
    document, _ = read_pdf(tmp_path, text_pdf(["We reim-", "burse all.\nThe end."]))
    assert document.text == "We reimburse all.\nThe end."
    assert document.page_at(document.text.index("reimburse")) == 1
    assert document.page_at(document.text.index("all")) == 2
