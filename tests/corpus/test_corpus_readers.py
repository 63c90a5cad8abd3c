"""Files of every kind and encoding, good and damaged."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
from pathlib import Path

import pytest
import zstandard

from seedbed.core.errors import DataError, NotFoundError
from seedbed.corpus.document import CorpusDocument
from seedbed.corpus.readers import read_documents
from seedbed.corpus.settings import LIMITS, SourceSettings
from seedbed.documents.compression import open_bytes
from seedbed.documents.encoding import detect
from seedbed.documents.file_walk import SourceFile, source_files
from seedbed.documents.readers import Skipped
from seedbed.documents.readers.html import html_text
from seedbed.documents.text_spans import cut_place

GERMAN = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Die Straße ist naß und glatt. " * 4
RUSSIAN = "Съешь ещё этих мягких французских булок, да выпей чаю. Широкая электрификация южных губерний. " * 4
JAPANESE = (
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。何でも薄暗いじめじめした所で泣いていた。" * 4
)


def read(path: Path, skipped: list[Skipped] | None = None, licence: str = "CC0-1.0") -> list[CorpusDocument]:
    items = list(read_documents(SourceFile(path, path.name), SourceSettings("s", str(path), licence)))
    (skipped if skipped is not None else []).extend(item for item in items if isinstance(item, Skipped))
    return [item for item in items if isinstance(item, CorpusDocument)]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "latin-1"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-32"),
        (RUSSIAN, "cp1251"),
        (JAPANESE, "shift-jis"),
        (JAPANESE, "euc-jp"),
    ],
)
def test_a_text_is_read_in_its_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    assert [document.text for document in read(path)] == [text]


def test_a_few_broken_bytes_do_not_spoil_the_rest_of_a_utf8_text() -> None:
    data = GERMAN.encode() + b"\xff" + GERMAN.encode()
    assert detect(io.BytesIO(data), "a").name == "utf-8"


@pytest.mark.parametrize("data", [b"PK\x03\x04\0\0rest", bytes(range(1, 9)) * 40, b"GIF89a\x01\x00\x01\x00"])
def test_binary_data_is_told_from_text(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.dat").write_bytes(data)
    with pytest.raises(DataError) as refused:
        read(tmp_path / "a.dat")
    assert "binary" in refused.value.why


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_compressed_files_are_opened_and_cut_off_ones_refused(tmp_path: Path, suffix: str) -> None:
    text = "".join(f"line {number} of a longer text\n" for number in range(5000))
    pack = {".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.ZstdCompressor().compress}[suffix]
    halves = pack(text[:70_000].encode()) + pack(text[70_000:].encode())  # two members or frames, one after another
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(halves)
    with open_bytes(path) as stream:
        assert stream.read().decode() == text
    assert read(path)[0].text == text
    path.write_bytes(halves[:-20])
    with pytest.raises(DataError) as refused:
        read(path)
    assert "damaged" in refused.value.why


def test_a_long_text_comes_in_parts_that_join_to_the_whole(tmp_path: Path) -> None:
    text = "".join(f"Paragraph {number} says little.\n\n" for number in range(100_000))
    (tmp_path / "novel.txt").write_text(text)
    parts = read(tmp_path / "novel.txt")
    assert "".join(part.text for part in parts) == text
    assert max(len(part.text) for part in parts) <= LIMITS.part_chars
    assert all(part.text.endswith("\n\n") for part in parts)
    assert [part.path for part in parts[:3]] == ["novel.txt", "novel.txt#2", "novel.txt#3"]
    assert {part.group for part in parts} == {"novel.txt"}


def test_windows_newlines_at_a_block_edge_are_one_newline(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x" * 8191 + b"\r\n" + b"y" * 9000 + b"\r\n")
    assert read(tmp_path / "a.txt")[0].text == "x" * 8191 + "\n" + "y" * 9000 + "\n"


@pytest.mark.parametrize(
    ("text", "wanted", "expected"),
    [
        ("aaaa\n\nbbbb cc", 9, 6),
        ("aaaa\nbbb cc dd", 9, 5),
        ("aaaa bbbb", 7, 5),
        ("aaaaaaaa", 6, 6),
        ("a\n\nbbbbbbbb", 9, 9),
    ],
)
def test_the_best_place_to_cut(text: str, wanted: int, expected: int) -> None:
    assert cut_place(text, wanted) == expected


def test_records_give_documents_and_bad_lines_are_counted(tmp_path: Path) -> None:
    lines = [
        json.dumps({"text": "One text.", "license": "MIT", "id": "page-1"}),
        "not json",
        json.dumps({"content": "Another.", "title": "Its title"}),
        json.dumps(["a list"]),
        "",
        json.dumps({"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Hello."}]}),
        json.dumps({"messages": [{"role": "user"}]}),
        json.dumps({"label": 3}),
    ]
    path = tmp_path / "a.jsonl"
    path.write_bytes("\n".join(lines).encode() + b"\n\xff\xfe\n")
    skipped: list[Skipped] = []
    found = read(path, skipped)
    assert found == [
        CorpusDocument("One text.", "s", "a.jsonl#1", "page-1", "prose", "MIT"),
        CorpusDocument("# Its title\n\nAnother.", "s", "a.jsonl#3", "a.jsonl#3", "prose", "CC0-1.0"),
        CorpusDocument("a list", "s", "a.jsonl#4", "a.jsonl#4", "prose", "CC0-1.0"),
        CorpusDocument("User: Hi?\n\nAssistant: Hello.\n", "s", "a.jsonl#6", "a.jsonl#6", "prose", "CC0-1.0"),
        CorpusDocument("messages.1.role: user", "s", "a.jsonl#7", "a.jsonl#7", "prose", "CC0-1.0"),
        CorpusDocument("label: 3", "s", "a.jsonl#8", "a.jsonl#8", "prose", "CC0-1.0"),
    ]
    assert [one.source for one in skipped] == ["a.jsonl#2", "a.jsonl#9"]


def test_a_page_keeps_its_prose_and_loses_its_furniture() -> None:
    page = """<html><head><title>Tea</title><style>p {}</style></head><body><nav>Home | About</nav>
    <h2>How   to make it</h2><p>Boil <b>fresh</b>
    water.<br>Wait.</p><ul><li>one spoon</li><li>two cups</li></ul>
    <pre>def tea():
    return  1</pre><script>track()</script><footer>© us</footer></body></html>"""
    assert html_text(page) == (
        "# Tea\n\n## How to make it\n\nBoil fresh water.\nWait.\n\n- one spoon\n- two cups\n\n"
        "```\ndef tea():\n    return  1\n```\n"
    )


def test_a_title_in_the_body_is_said_once() -> None:
    assert html_text("<p>Boil water.</p><title>Tea</title>") == "# Tea\n\nBoil water.\n"


def test_a_deeply_nested_page_is_no_trouble() -> None:
    assert html_text("<div>" * 2_000 + "deep" + "</div>" * 2_000) == "deep\n"


def test_code_is_told_by_its_suffix(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "README").write_text("Read me.\n")
    assert read(tmp_path / "a.py")[0].kind == "code"
    assert read(tmp_path / "README")[0].kind == "prose"


def test_sources_list_files_in_order_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("b/2.txt", "b/10.txt", "a.md", ".git/config", ".hidden", "__pycache__/a.pyc", "c/d/e.rst"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "b" / "self").symlink_to("self")  # reported when it is read

    def listed(path: str) -> list[str]:
        return [file.path for file in source_files(path)]

    assert listed(str(tmp_path)) == ["a.md", "b/10.txt", "b/2.txt", "b/self", "c/d/e.rst"]
    assert listed(str(tmp_path / "b/*.txt")) == ["10.txt", "2.txt"]
    assert listed(str(tmp_path / "c/**/*.rst")) == ["d/e.rst"]
    assert listed(str(tmp_path / "a.md")) == ["a.md"]


def test_a_source_that_is_not_there_says_so(tmp_path: Path) -> None:
    for path in ("nowhere", "*.nothing"):
        with pytest.raises(NotFoundError):
            list(source_files(str(tmp_path / path)))
    with pytest.raises(DataError, match="has no files"):
        list(source_files(str(tmp_path)))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_folder_that_may_not_be_opened_is_listed_itself(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "closed").mkdir(mode=0)
    assert [file.path for file in source_files(str(tmp_path))] == ["a.txt", "closed"]
