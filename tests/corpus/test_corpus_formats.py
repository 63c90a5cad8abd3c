"""Training and answering read the same text: one folder of many formats, as a corpus and as a collection."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from contextlib import closing
from dataclasses import replace
from email.message import EmailMessage
from pathlib import Path

import pytest
from foreign_files import document_xml, paragraph, text_pdf, word

from seedbed.cli.main import main
from seedbed.core.artifacts import Library
from seedbed.corpus.build import build_corpus
from seedbed.corpus.clean import clean_text
from seedbed.corpus.document import SPLITS
from seedbed.corpus.settings import LIMITS, CorpusSettings, SourceSettings
from seedbed.corpus.store import Corpus
from seedbed.documents.reading import read
from seedbed.rag.answer import ask
from seedbed.rag.collection import Collection

FACTS = {
    "manual.pdf": (
        "The reactor valve opens at ninety bar of pressure.",
        "At which pressure does the reactor valve open?",
    ),
    "minutes.docx": (
        "The board chose Helsinki as the seat of the archive.",
        "Which seat of the archive did the board choose?",
    ),
    "letter.eml": (
        "The parcel with the telescope arrives on Friday.",
        "When does the parcel with the telescope arrive?",
    ),
    "film.srt": (
        "The captain hid the golden compass under the third step of the lighthouse.",
        "Where did the captain hide the golden compass?",
    ),
    "rivers.csv": ("river: Elbe\nlength: 1094 kilometres", "Which length has the river Elbe?"),
    "guide.md": ("Tomatoes want two litres of water every morning.", "How much water do tomatoes want every morning?"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mixed"
    folder.mkdir()
    said = {name: fact for name, (fact, _) in FACTS.items()}
    mail = EmailMessage()
    mail["From"], mail["Subject"] = "ada@example.org", "Your order"
    mail.set_content(said["letter.eml"] + "\n")
    (folder / "manual.pdf").write_bytes(text_pdf([said["manual.pdf"], "A second page tells of pumps."]))
    (folder / "minutes.docx").write_bytes(word(document_xml(paragraph(said["minutes.docx"]))))
    (folder / "letter.eml").write_bytes(mail.as_bytes())
    (folder / "rivers.csv").write_text("river;length\nElbe;1094 kilometres\nNile;6650 kilometres\n")
    (folder / "guide.md").write_text(f"# Beds\n\n{said['guide.md']}\n")
    first, rest = said["film.srt"].split(" under ")
    (folder / "film.srt").write_text(
        f"1\n00:00:01,000 --> 00:00:02,500\n{first}\n\n2\n00:00:02,600 --> 00:00:04,000\nunder {rest}\n"
    )
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    return folder


def test_the_same_documents_are_trained_on_and_answered_from(folder: Path, tmp_path: Path) -> None:
    library = Library(tmp_path / "home")
    settings = CorpusSettings(sources=(SourceSettings("mixed", str(folder)),), min_chars=1, boilerplate_share=0)
    corpus = Corpus.open(build_corpus(settings, library, "mixed", workers=2))
    trained = {one.path: one.text for split in SPLITS for one in corpus.documents(split)}
    retrieved = {one.source: one.text for one in read(folder, on_skip=lambda skipped: None)}
    assert trained.keys() == FACTS.keys()
    assert trained == {
        str(Path(source).relative_to(folder)): clean_text(text, "prose", Counter())
        for source, text in retrieved.items()
    }
    assert all(fact in trained[name] for name, (fact, _) in FACTS.items())
    [skipped] = corpus.report["skipped"]
    assert (skipped["path"], "damaged" in skipped["why"]) == ("broken.pdf", True)
    with closing(Collection.create(library, "mixed")) as collection:
        report = collection.add([str(folder)])
        assert sorted(Path(one).name for one in report.read) == sorted(FACTS)
        assert [(Path(one.source).name, one.reason) for one in report.skipped] == [("broken.pdf", skipped["why"])]
        for name, (fact, question) in FACTS.items():
            answer = ask(question, collection.search, chain="extract", threshold=0)
            assert answer.found
            assert Path(answer.hits[0].chunk.source).name == name
            assert fact.splitlines()[-1] in answer.text


def test_what_a_corpus_read_in_part_is_reported_beside_what_it_skipped(folder: Path, tmp_path: Path) -> None:
    lost = paragraph("The board chose Helsinki.") + "<w:laterPr><w:t>two more</w:t></w:laterPr>"
    (folder / "minutes.docx").write_bytes(word(document_xml(lost)))
    settings = CorpusSettings(sources=(SourceSettings("mixed", str(folder)),), min_chars=1)
    corpus = Corpus.open(build_corpus(settings, Library(tmp_path / "home"), workers=1))
    [partly] = corpus.report["read_in_part"]
    assert (partly["path"], partly["why"][:35]) == ("minutes.docx", "2 of its 6 words were not read (two")
    assert [row["path"] for row in corpus.report["skipped"]] == ["broken.pdf"]
    assert {row["path"]: row.get("partly") for row in corpus.raw_files()}["minutes.docx"] == [partly["why"]]


def test_both_commands_take_the_same_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))

    def run(*arguments: str) -> dict[str, object]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return json.loads(captured.out)  # type: ignore[no-any-return]

    built = run("corpus", "build", str(folder), "--name", "mixed", "--set", "min_chars=1")
    added = run("docs", "add", "mixed", str(folder))
    answered = run("ask", FACTS["manual.pdf"][1], "--docs", "mixed")
    assert [row["path"] for row in built["skipped"]] == ["broken.pdf"]  # type: ignore[attr-defined]
    assert sum(row["documents"] for row in built["splits"].values()) == len(FACTS)  # type: ignore[attr-defined]
    assert added["documents"] == len(FACTS)
    assert "ninety bar" in str(answered)


def test_a_compressed_text_beyond_its_limit_is_reported_and_the_others_kept(folder: Path, tmp_path: Path) -> None:
    (folder / "bomb.txt.gz").write_bytes(gzip.compress(b"bomb " * 100_000))
    sources = (SourceSettings("mixed", str(folder)),)
    settings = CorpusSettings(sources, min_chars=1, limits=replace(LIMITS, unpacked_bytes=100_000))
    corpus = Corpus.open(build_corpus(settings, Library(tmp_path / "home"), workers=1))
    skipped = {row["path"]: row["why"] for row in corpus.report["skipped"]}
    assert skipped.keys() == {"bomb.txt.gz", "broken.pdf"}
    assert skipped["bomb.txt.gz"].startswith("it unpacks to more than 100,000 bytes; ")
    assert "--set limits.unpacked_bytes=NUMBER" in skipped["bomb.txt.gz"]
