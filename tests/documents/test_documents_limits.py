"""Hostile and broken files: each is refused with its reason, in bounded time and memory, and harms no other."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pypdf
import pytest
from foreign_files import (
    content_pdf,
    declare_smaller,
    document_xml,
    flate_bomb,
    mark_encrypted,
    page_tree_bomb,
    paragraph,
    pdf,
    text_pdf,
    word,
)

from seedbed.core.errors import CapacityError, DataError, SeedbedError
from seedbed.documents.document import Document
from seedbed.documents.headings import markdown_headings
from seedbed.documents.isolation import is_simple_page, read_isolated
from seedbed.documents.limits import Limits
from seedbed.documents.readers import Skipped
from seedbed.documents.readers.zip_limits import check_zip
from seedbed.documents.reading import read

MEGABYTE = 1_000_000


def refusal(path: Path, content: bytes, limits: Limits | None = None) -> SeedbedError:
    """The error of reading such a file."""
    path.write_bytes(content)
    with pytest.raises(SeedbedError) as caught:
        list(read(path, limits))
    assert str(path) in caught.value.what
    return caught.value


# PDF


@pytest.mark.parametrize(("levels", "width"), [(30, 10), (150, 1), (1, 300)])
def test_a_page_tree_of_too_many_pages_or_levels(tmp_path: Path, levels: int, width: int) -> None:
    error = refusal(tmp_path / "a.pdf", page_tree_bomb(levels, width), Limits(pages=200))
    assert isinstance(error, CapacityError)
    assert "`pages`" in error.fix


def test_a_page_tree_that_goes_in_circles(tmp_path: Path) -> None:
    circle = pdf([b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1 /Kids [2 0 R] >>"])
    assert isinstance(refusal(tmp_path / "a.pdf", circle), DataError)


def test_a_page_that_unpacks_to_too_much(tmp_path: Path) -> None:
    error = refusal(tmp_path / "a.pdf", flate_bomb(50), Limits(unpacked_bytes=8 * MEGABYTE))
    assert isinstance(error, CapacityError)


def test_a_page_that_needs_too_much_memory(tmp_path: Path) -> None:
    limits = Limits(memory_bytes=250 * MEGABYTE, unpacked_bytes=10**11)
    error = refusal(tmp_path / "a.pdf", flate_bomb(300), limits)
    assert isinstance(error, CapacityError)
    assert "memory" in error.why


def test_a_page_that_takes_too_long(tmp_path: Path) -> None:
    slow = content_pdf(b"BT /F1 12 Tf " + b"(a) Tj\n" * 600_000 + b"ET")
    error = refusal(tmp_path / "a.pdf", slow, Limits(seconds=0.5))
    assert isinstance(error, CapacityError)
    assert "0.5 s" in error.why


def test_pages_that_repeat_one_text_are_too_much_text(tmp_path: Path) -> None:
    pages = ["all work and no play " * 40] * 30
    error = refusal(tmp_path / "a.pdf", text_pdf(pages), Limits(text_chars=20_000))
    assert isinstance(error, CapacityError)
    assert "characters" in error.why


@pytest.mark.parametrize("password", ["", "secret"])
def test_a_locked_pdf_is_read_only_if_it_needs_no_password(tmp_path: Path, password: str) -> None:
    writer = pypdf.PdfWriter(io.BytesIO(text_pdf(["Hello there"])))
    writer.encrypt(password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    if password:
        error = refusal(tmp_path / "a.pdf", out.getvalue())
        assert isinstance(error, DataError)
        assert "locked" in error.why
    else:
        (tmp_path / "a.pdf").write_bytes(out.getvalue())
        assert [document.text for document in read(tmp_path / "a.pdf")] == ["Hello there"]


GOOD_PDF = text_pdf(["Hello there", "and here"])


@pytest.mark.parametrize(
    "content",
    [b"", b"%PDF-1.7\n", b"no pdf at all", GOOD_PDF[:200], b"\0" * 5000, GOOD_PDF.replace(b"/Kids [", b"/Kids 7 [")],
    ids=["empty", "head only", "text", "cut off", "zeros", "broken tree"],
)
def test_a_broken_pdf_is_an_error_with_a_reason(tmp_path: Path, content: bytes) -> None:
    error = refusal(tmp_path / "a.pdf", content)
    assert isinstance(error, DataError)
    assert error.why


def test_a_pdf_without_text_says_so(tmp_path: Path) -> None:
    skipped: list[Skipped] = []
    (tmp_path / "a.pdf").write_bytes(content_pdf(b""))
    assert list(read(tmp_path / "a.pdf", on_skip=skipped.append)) == []
    assert "no text" in skipped[0].reason


# Zip containers

SOUND = document_xml(paragraph("Hello"))


def test_a_word_document_of_the_least_parts_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_bytes(word(SOUND))
    assert list(read(tmp_path / "a.docx")) == [Document(str(tmp_path / "a.docx"), "Hello")]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(unpacked_bytes=10 * MEGABYTE), "10,000,000 bytes"),
        (Limits(), "100 times"),
        (Limits(members=3), "4 files"),
    ],
)
def test_a_zip_bomb_by_what_it_declares(tmp_path: Path, limits: Limits, reason: str) -> None:
    error = refusal(tmp_path / "a.docx", word(SOUND, {"media/a.png": b"\0" * 30 * MEGABYTE}), limits)
    assert isinstance(error, CapacityError)
    assert reason in error.why


def test_a_zip_bomb_that_declares_too_little(tmp_path: Path) -> None:
    honest = word(document_xml(paragraph("x" * 30 * MEGABYTE)))
    liar = declare_smaller(honest, "word/document.xml", 1000)
    error = refusal(tmp_path / "a.docx", liar, Limits(unpacked_bytes=10 * MEGABYTE))
    assert isinstance(error, CapacityError)
    assert "10,000,000 bytes" in error.why


LAUGHS = "".join(f'<!ENTITY l{level} "{f"&l{level - 1};" * 10}">' for level in range(1, 12))
DOCTYPE = f'<!DOCTYPE lolz [<!ENTITY l0 "lol">{LAUGHS}]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("padding", [0, 65_530])
def test_entities_that_expand_each_other(tmp_path: Path, encoding: str, padding: int) -> None:
    """Also where the declaration stands on the border of two blocks, behind a comment."""
    before = f"<!--{'x' * padding}-->{DOCTYPE}"
    laughs = document_xml(paragraph("&l11;"), before).replace("?>", f' encoding="{encoding}"?>', 1)
    error = refusal(tmp_path / "a.docx", word("", {"word/document.xml": laughs.encode(encoding)}))
    assert isinstance(error, DataError)
    assert "document type" in error.why


@pytest.mark.parametrize("name", ["a.xml", "A.XML", "_rels/A.Rels", "document.bin", "document", "a.xml.", "slide.Xml"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32-le", "utf-7", "cp037"])
@pytest.mark.parametrize("before", ["", " " * 5000])
def test_a_declaration_is_found_in_every_spelling(name: str, encoding: str, before: str) -> None:
    stated = encoding.removesuffix("-sig").upper() if encoding != "utf-7" else "Unicode-1-1-UTF-7"
    head, rest = f'<?xml version="1.0" encoding="{stated}"?>', f"{before}{DOCTYPE}<a>&l11;</a>"
    data = (head + rest).encode(encoding)
    if encoding == "utf-7":  # each character may be written in two ways
        data = head.encode() + before.encode() + rest.replace("<!", "+ADwAIQ-").encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, data)
    with pytest.raises(DataError):
        check_zip(stream, "a.docx", Limits())


def test_pieces_of_nothing_do_not_hide_how_a_part_begins() -> None:
    stream, empty = io.BytesIO(), b"\x00\x00\x00\xff\xff" * 20_000
    packed = empty + zlib.compress(DOCTYPE.encode(), wbits=-15)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("part", packed)
        info = archive.infolist()[0]
        info.compress_type, info.file_size, info.CRC = zipfile.ZIP_DEFLATED, len(DOCTYPE), zlib.crc32(DOCTYPE.encode())
    with pytest.raises(DataError, match="cannot be read") as caught:
        check_zip(stream, "a.docx", Limits())
    assert "document type" in caught.value.why


def test_an_entity_does_not_read_files(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    laughs = document_xml(paragraph("&x;"), f'<!DOCTYPE x [<!ENTITY x SYSTEM "{secret.as_uri()}">]>')
    assert "secret" not in refusal(tmp_path / "a.docx", word(laughs)).why


def test_a_locked_word_document(tmp_path: Path) -> None:
    for content in (mark_encrypted(word(SOUND)), b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 5000):
        error = refusal(tmp_path / "a.docx", content)
        assert isinstance(error, DataError)
        assert "password" in error.why


GOOD_WORD = word(SOUND)
BROKEN_WORD = {
    "empty": b"",
    "text": b"hello",
    "cut off": GOOD_WORD[:-30],
    "no document in it": word("<nothing"),
    "damaged data": GOOD_WORD.replace(GOOD_WORD[60:70], b"\xff" * 10, 1),
}


@pytest.mark.parametrize("name", BROKEN_WORD)
def test_a_broken_word_document_is_an_error_with_a_reason(tmp_path: Path, name: str) -> None:
    error = refusal(tmp_path / "a.docx", BROKEN_WORD[name])
    assert isinstance(error, DataError)
    assert error.why


def test_no_cut_or_changed_byte_of_a_container_is_anything_but_a_clear_error() -> None:
    def check(data: bytes) -> None:
        with suppress(SeedbedError):
            check_zip(io.BytesIO(data), "x", Limits())

    for place in range(0, len(GOOD_WORD), 7):
        check(GOOD_WORD[:place])
        check(GOOD_WORD[:place] + bytes([GOOD_WORD[place] ^ 0x55]) + GOOD_WORD[place + 1 :])


# The process


def isolated(format_name: str, content: bytes, limits: Limits) -> Iterator[object]:
    with tempfile.TemporaryFile() as stream:
        stream.write(content)
        stream.flush()
        yield from read_isolated(format_name, stream, "the file", limits)


def test_what_comes_through_the_process_is_what_the_reader_gives() -> None:
    lines = b'{"text": "Fl\xc3\xbcsse \\ud800 \\u0000", "year": 1999}\nnope\n'
    document, skipped = isolated("records:read_lines", lines, Limits())
    text = "Flüsse \ufffd \ufffd\n\nyear: 1999"
    assert document == Document("the file#1", text, metadata={"year": 1999, "prose_chars": 10})
    assert isinstance(skipped, Skipped)
    assert skipped.source == "the file#2"


def test_more_text_than_a_document_may_have() -> None:
    with pytest.raises(CapacityError, match="too large"):
        list(isolated("text:read", b"x" * 2000, Limits(text_chars=1000)))


def test_a_crash_of_the_parser_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parser that dies as by a bad pointer; it stands in for pypdf, found first on the path of the child."""
    (tmp_path / "pypdf.py").write_text("import ctypes\nctypes.string_at(0)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DataError, match="cannot be read") as caught:
        list(isolated("pdf:read", GOOD_PDF, Limits()))
    assert "crashed" in caught.value.why


def test_a_module_in_the_current_folder_is_not_what_the_process_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pypdf.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    (tmp_path / "a.pdf").write_bytes(GOOD_PDF)
    assert [document.text for document in read("a.pdf")] == ["Hello there\nand here"]


# Text


def test_a_large_page_is_refused_and_a_nested_or_broken_one_bounded(tmp_path: Path) -> None:
    assert isinstance(refusal(tmp_path / "a.html", b"<p>" * 100_001, Limits(file_bytes=300_000)), CapacityError)
    for hostile in (b"<div>" * 60_000, b"<a " * 60_000, b"<br>" * 60_000):
        assert "0.5 s" in refusal(tmp_path / "b.html", hostile, Limits(seconds=0.5)).why


@pytest.mark.parametrize(
    ("page", "simple"),
    [
        (b"<p>Text <br> more</p>" * 200, True),
        (b"<div>" * 301, False),
        (b"<div></div>" * 301, True),
        (b"<br>" * 301, True),
        (b"<br>" * 5001, False),
        (b"<a " * 201, False),
        (b"1 < 2 <!-- x --> <![CDATA[", True),
    ],
)
def test_what_may_be_parsed_in_our_own_process(page: bytes, simple: bool) -> None:
    assert is_simple_page(page) is simple


def test_a_mail_with_a_hostile_header_or_page_is_bounded(tmp_path: Path) -> None:
    header = b"To: " + b'"' * 100_000 + b"\n\nbody"
    assert "0.5 s" in refusal(tmp_path / "a.eml", header, Limits(seconds=0.5)).why
    assert isinstance(refusal(tmp_path / "b.eml", b"To: " + b"(" * 1500 + b"\n\nbody"), DataError)
    (tmp_path / "c.eml").write_bytes(b"Content-Type: text/html\n\n" + b"<p>" * 20_000 + b"rivers &amp; lakes")
    assert [document.text.strip() for document in read(tmp_path / "c.eml")] == ["rivers & lakes"]


def test_lines_that_would_take_a_pattern_long() -> None:
    for line in ("#" + " " * 10**6 + "x", "# " + "# " * 10**6, "`" * 10**6, "- " * 10**6 + "x", " " * 10**6):
        assert len(markdown_headings(f"{line}\n{line}\n")) <= 2


def test_a_gzip_bomb(tmp_path: Path) -> None:
    error = refusal(tmp_path / "a.txt.gz", gzip.compress(b" " * 20 * MEGABYTE), Limits(unpacked_bytes=10 * MEGABYTE))
    assert isinstance(error, CapacityError)


def test_a_text_larger_than_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        file.truncate(10**10)  # sparse: takes no room
    with pytest.raises(CapacityError, match="too large"):
        list(read(path))


def test_a_table_with_an_endless_line_or_cell(tmp_path: Path) -> None:
    assert "line" in refusal(tmp_path / "a.csv", b"a,b\n" + b"x" * 11 * MEGABYTE).why
    assert "field" in refusal(tmp_path / "b.csv", b'a,b\n"' + b"x\n" * MEGABYTE).why


def test_json_nested_too_deeply_or_broken(tmp_path: Path) -> None:
    for content in (b"[" * 200_000, b'{"a": ', b"", b"1" * 5000):
        assert isinstance(refusal(tmp_path / "a.json", content), DataError)


@pytest.mark.parametrize("suffix", ["txt", "md", "html", "csv", "json", "jsonl", "eml", "rst", "py"])
def test_binary_data_under_a_text_suffix_is_an_error(tmp_path: Path, suffix: str) -> None:
    assert isinstance(refusal(tmp_path / f"a.{suffix}", os.urandom(4000) + b"\0"), DataError)


MEMORY = """
import sys
from pathlib import Path
from seedbed.documents.reading import read
characters = longest = 0
for document in read(sys.argv[1]):
    characters += len(document.text)
    longest = max(longest, len(document.text))
status = Path("/proc/self/status").read_text()  # ru_maxrss would count what the parent held
print(characters, longest, int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["txt", "csv", "jsonl"])
def test_a_gigabyte_is_read_in_bounded_memory(tmp_path: Path, suffix: str) -> None:
    words = "Some words about rivers and lakes. " * 20
    line = {"txt": f"{words}\n", "csv": f"river,{words}\n", "jsonl": f'{{"text": "{words}"}}\n'}[suffix]
    path = tmp_path / f"a.{suffix}"
    block = line * (MEGABYTE // len(line))
    with path.open("w") as file:
        for _ in range(1000):
            file.write(block)
    command = [sys.executable, "-c", MEMORY, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    characters, longest, peak = map(int, done.stdout.split())
    if suffix == "txt":
        assert characters == 1000 * len(block)
    assert longest <= MEGABYTE
    assert peak < 300 * MEGABYTE
