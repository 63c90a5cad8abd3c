"""Whole corpora from real files: what is kept, reported and refused, and that equal input gives equal bytes."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbed.core.artifacts import Library
from seedbed.core.errors import ConfigError, CorruptError, DataError, NotFoundError
from seedbed.corpus.build import build_corpus, check_leaks
from seedbed.corpus.document import SPLITS, CorpusDocument
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.store import Corpus, split_file

WORDS = [
    f"{first}{second}" for first in ("sea", "land", "sky", "wind", "fire", "moon") for second in "abcdefghijklmnop"
]


def prose(seed: int, words: int = 120) -> str:
    generator = random.Random(seed)
    return " ".join(generator.choices(WORDS, k=words)) + ".\n"


def folder(root: Path, texts: dict[str, str | bytes]) -> Path:
    for name, text in texts.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def settings(*paths: Path, **others: Any) -> CorpusSettings:
    sources = tuple(SourceSettings(path.name.partition(".")[0], str(path), "CC0-1.0") for path in paths)
    return CorpusSettings(sources=sources, **others)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return folder(tmp_path / "notes", {f"{number:03}.txt": prose(number) for number in range(60)})


def everything(corpus: Corpus) -> list[CorpusDocument]:
    return [document for split in SPLITS for document in corpus.documents(split)]


def test_good_files_are_kept_and_bad_ones_reported(library: Library, notes: Path) -> None:
    folder(
        notes,
        {
            "zip.bin": b"PK\x03\x04\0\0binary",
            "cut.txt.gz": gzip.compress(prose(99).encode() * 50)[:-9],
            "empty.md": "",
            "short.md": "Too short.",
            "records.jsonl": '{"text": "' + prose(7777).strip() + '"}\nbroken\n',
        },
    )
    (notes / "gone.txt").symlink_to(notes / "nowhere")
    corpus = Corpus.open(build_corpus(settings(notes), library, "notes"))
    paths = {document.path for document in everything(corpus)}
    assert paths == {f"{number:03}.txt" for number in range(60)} | {"records.jsonl#1"}
    skipped = {row["path"]: row["why"] for row in corpus.report["skipped"]}
    assert skipped.keys() == {"zip.bin", "cut.txt.gz", "empty.md", "gone.txt", "records.jsonl, line 2"}
    assert skipped["zip.bin"] == "binary, and of no known kind; convert it to text, PDF or docx"
    assert skipped["cut.txt.gz"].startswith("it is damaged")
    assert skipped["empty.md"] == "there is no text in it"
    assert skipped["gone.txt"] == "no such file or directory; check the file and its permissions"
    assert [row["documents"] for row in corpus.report["steps"]][:4] == [62, 62, 62, 61]
    assert {row["path"]: row.get("skipped") for row in corpus.raw_files()}["zip.bin"] == skipped["zip.bin"]
    assert [(row["source"], row["licences"]) for row in corpus.report["sources"]] == [("notes", {"CC0-1.0": 61})]


def test_texts_come_back_as_they_were(library: Library, notes: Path) -> None:
    corpus = Corpus.open(build_corpus(settings(notes), library))
    assert {document.path: document.text for document in everything(corpus)} == {
        path.name: path.read_text() for path in notes.iterdir()
    }


@pytest.mark.parametrize(
    "breaking",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x07"),
        lambda path: path.unlink(),
    ],
)
def test_a_damaged_corpus_is_not_opened(library: Library, notes: Path, breaking: Callable[[Path], None]) -> None:
    artifact = build_corpus(settings(notes), library)
    breaking(artifact.path / split_file("train"))
    with pytest.raises(CorruptError):
        Corpus.open(artifact)


def test_any_number_of_workers_gives_the_same_bytes(library: Library, notes: Path) -> None:
    folder(notes, {"big.txt": "\n\n".join(prose(number, 400) for number in range(800))})
    folder(notes, {f"more/{number}.md": prose(5000 + number, 300) for number in range(300)})  # over a batch of files
    chosen = settings(notes, pii="mask")
    alone, together = (build_corpus(chosen, Library(library.root / str(count)), workers=count) for count in (1, 2))
    assert alone.id == together.id
    assert len(list((library.root / "1" / "corpus").iterdir())) == 1  # and nothing else is left behind


def test_one_byte_changes_the_id_even_where_cleaning_removes_it(library: Library, notes: Path) -> None:
    before = build_corpus(settings(notes), library)
    path = notes / "005.txt"
    path.write_bytes(path.read_bytes() + b" ")
    after = build_corpus(settings(notes), library)
    assert before.id != after.id
    assert everything(Corpus.open(before)) == everything(Corpus.open(after))


def test_duplicates_go_and_the_splits_share_none(library: Library, tmp_path: Path) -> None:
    texts = {f"{number:03}.txt": prose(number) for number in range(100)}
    texts |= {f"copy{number:03}.txt": prose(number) for number in range(30)}
    texts |= {f"near{number:03}.txt": prose(number).replace(".", " changed.") for number in range(40, 70)}
    corpus = Corpus.open(build_corpus(settings(folder(tmp_path / "d", texts)), library))
    steps = {row["step"]: row["documents"] for row in corpus.report["steps"]}
    assert (steps["long enough"], steps["exact duplicates removed"], steps["near-duplicates removed"]) == (
        160,
        130,
        100,
    )
    assert {document.path for document in everything(corpus)} == {f"{number:03}.txt" for number in range(100)}
    assert corpus.report["leak_check"] == {"documents": 100, "threshold": 0.8, "exact": 0, "near": 0}


def test_near_duplicates_that_are_kept_share_a_split(library: Library, tmp_path: Path) -> None:
    texts = {f"{number:03}{letter}.txt": prose(number) + letter for number in range(60) for letter in "abc"}
    chosen = settings(folder(tmp_path / "d", texts), near_duplicate_action="keep")
    corpus = Corpus.open(build_corpus(chosen, library))
    where = {document.path: split for split in SPLITS for document in corpus.documents(split)}
    assert len(where) == 180
    assert set(where.values()) == set(SPLITS)
    for number in range(60):
        assert len({where[f"{number:03}{letter}.txt"] for letter in "abc"}) == 1
    apart = build_corpus(replace(chosen, near_duplicate=0.0), library)
    where = {document.path: split for split in SPLITS for document in Corpus.open(apart).documents(split)}
    assert any(len({where[f"{number:03}{letter}.txt"] for letter in "abc"}) > 1 for number in range(60))


def test_the_leak_check_finds_a_leak(library: Library) -> None:
    hashes = np.array([1, 2, 1], dtype=np.uint64)
    kept, splits = np.ones(3, dtype=bool), np.array([0, 0, 2], dtype=np.int8)
    with pytest.raises(DataError, match="not independent"):
        check_leaks(hashes, None, kept, splits)
    assert check_leaks(hashes, None, np.array([True, True, False]), splits)["exact"] == 0


def test_records_of_one_page_share_a_split(library: Library, tmp_path: Path) -> None:
    lines = [json.dumps({"text": prose(number), "url": f"page{number % 40}"}) for number in range(200)]
    (tmp_path / "web.jsonl").write_text("\n".join(lines))
    corpus = Corpus.open(build_corpus(settings(tmp_path / "web.jsonl"), library))
    splits: dict[str, set[str]] = {}
    for split in SPLITS:
        for document in corpus.documents(split):
            splits.setdefault(document.group, set()).add(split)
    assert len(splits) == 40
    assert all(len(found) == 1 for found in splits.values())


def test_one_file_is_cut_into_three(library: Library, tmp_path: Path) -> None:
    text = "\n\n".join(prose(number).strip() for number in range(1000)) + "\n"
    (tmp_path / "novel.txt").write_text(text)
    corpus = Corpus.open(build_corpus(settings(tmp_path / "novel.txt"), library))
    assert "".join(document.text for document in everything(corpus)) == text
    shares = [corpus.report["splits"][split]["bytes_share"] for split in SPLITS]
    assert shares == pytest.approx([0.8, 0.1, 0.1], abs=0.005)


def test_personal_data_is_reported_or_masked_and_never_shown(library: Library, notes: Path) -> None:
    folder(notes, {"letter.txt": f"Write to ada@engine.org or call (202) 456-1111.\n{prose(1234)}"})
    reported = build_corpus(settings(notes), library)
    masked = build_corpus(settings(notes, pii="mask"), library)
    text = {document.path: document.text for document in everything(Corpus.open(masked))}["letter.txt"]
    assert text.startswith("Write to <email> or call <phone>.\n")
    for artifact in (reported, masked):
        findings = Corpus.open(artifact).report["findings"]["kinds"]
        assert {kind: found["count"] for kind, found in findings.items()} == {"email": 1, "phone": 1}
        assert findings["email"]["examples"] == [{"path": "letter.txt", "excerpt": "ad…rg (14 characters)"}]
        assert "ada@engine.org" not in (artifact.path / "report.json").read_text()
    assert Corpus.open(build_corpus(settings(notes, pii="off"), library)).report["findings"]["kinds"] == {}


def test_boilerplate_goes_from_prose_and_stays_in_code(library: Library, tmp_path: Path) -> None:
    notice = "Licensed under the terms of the harbour office of Seatown"
    texts = {f"{number}.txt": f"{notice}\n{prose(number)}" for number in range(40)}
    texts |= {f"{number}.py": f"# -*-\n'{notice}'\nvalue = '{prose(100 + number).strip()}'\n" for number in range(40)}
    corpus = Corpus.open(build_corpus(settings(folder(tmp_path / "d", texts)), library))
    for document in everything(corpus):
        assert (notice in document.text) == (document.kind == "code")
    assert corpus.report["repairs"]["boilerplate lines removed"] == 40
    assert corpus.report["repairs"]["boilerplate lines found in code and kept"] == 40


def test_the_mix_follows_the_weights(library: Library, tmp_path: Path) -> None:
    one = folder(tmp_path / "one", {f"{number}.txt": prose(number) for number in range(90)})
    two = folder(tmp_path / "two", {f"{number}.txt": prose(1000 + number) for number in range(30)})
    chosen = settings(one, two)
    chosen = replace(chosen, sources=(chosen.sources[0], replace(chosen.sources[1], weight=3.0)))
    mix = {row["source"]: row for row in Corpus.open(build_corpus(chosen, library)).report["mix"]}
    sizes = {name: row["bytes"] for name, row in mix.items()}
    whole = sizes["one"] + 3 * sizes["two"]
    assert mix["two"]["share"] == pytest.approx(3 * sizes["two"] / whole, abs=1e-5)
    assert mix["two"]["epochs"] == pytest.approx(3 * mix["one"]["epochs"], rel=1e-3)
    # As much text as there is, drawn by share, is seen so many times:
    assert mix["one"]["epochs"] * sizes["one"] == pytest.approx(mix["one"]["share"] * sum(sizes.values()), rel=1e-3)


def test_what_cannot_be_used_is_refused_and_nothing_is_stored(library: Library, tmp_path: Path, notes: Path) -> None:
    kept = build_corpus(settings(notes), library, "good")
    (tmp_path / "empty").mkdir()
    binary = folder(tmp_path / "binary", {"a.png": b"\x89PNG\0\0"})
    tiny = folder(tmp_path / "tiny", {"a.txt": "hi"})
    word = folder(tmp_path / "word", {"a.txt": "x" * 40})
    cases: list[tuple[type[Exception], Path, str]] = [
        (DataError, tmp_path / "empty", "has no files"),
        (DataError, binary, "no text could be read"),
        (DataError, tiny, "no documents are left"),
        (NotFoundError, tmp_path / "nowhere", "there is no file or folder"),
    ]
    for kind, path, message in cases:
        with pytest.raises(kind, match=message):
            build_corpus(settings(path), library, "good")
    assert sum(document.bytes for document in everything(Corpus.open(build_corpus(settings(word), library)))) == 41
    assert library.get("good").id == kept.id
    assert [path for path in library.root.rglob(".*") if path.suffix != ".lock"] == []


def test_a_corpus_is_not_read_from_something_else(library: Library) -> None:
    with library.writing("model") as draft:
        (draft.path / "x").write_text("x")
    with pytest.raises(NotFoundError, match="not a corpus"):
        Corpus.open(draft.result)


@pytest.mark.parametrize(
    "changes",
    [
        {"sources": ()},
        {"sources": (SourceSettings("a", "x"), SourceSettings("a", "y"))},
        {"sources": (SourceSettings("a", "x", weight=0.0),)},
        {"valid_share": 0.5, "test_share": 0.5},
    ],
)
def test_settings_that_contradict_each_other(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"source|share"):
        CorpusSettings(**changes)


def test_a_source_needs_a_plain_name() -> None:
    from seedbed.core.config import parse

    with pytest.raises(ConfigError, match="cannot be used"):
        parse(SourceSettings, {"name": "../up", "path": "x"})


@pytest.mark.slow
def test_the_standard_library(library: Library) -> None:
    corpus = Corpus.open(build_corpus(CorpusSettings(), library))
    assert sum(row["bytes"] for row in corpus.report["splits"].values()) > 9e6
    kinds = {document.kind for document in corpus.documents("train")}
    assert kinds == {"prose", "code"}
    groups = [{document.group for document in corpus.documents(split)} for split in SPLITS]
    assert not groups[0] & groups[1]
    assert not groups[0] & groups[2]
