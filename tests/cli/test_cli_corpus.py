"""`seedbed corpus` as a user runs it: build, show, ls, rm, and wrong input."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from seedbed.cli.corpus import corpus_command
from seedbed.cli.main import main
from seedbed.core.artifacts import Library
from seedbed.corpus.document import SPLITS
from seedbed.corpus.questions import read_questions


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    generator = random.Random(0)
    (tmp_path / "notes").mkdir()
    for number in range(30):
        words = " ".join(f"word{generator.randrange(500)}" for _ in range(80))
        (tmp_path / "notes" / f"{number:02}.md").write_text(f"Note {number}: {words}\n")
    (tmp_path / "notes" / "letter.md").write_text(f"Write to ada@engine.org about {words[::-1]}\n")
    (tmp_path / "notes" / "photo.jpg").write_bytes(b"\xff\xd8\xff\0\0")
    return tmp_path


class Run:
    """One command line: its exit code and what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> None:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["corpus", *arguments])
        self.code = stopped.value.code
        self.out, self.err = capsys.readouterr()


def test_build_shows_what_was_kept_found_and_skipped(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    built = Run(capsys, "build", "notes", "--licence", "CC-BY-4.0")
    assert built.code == 0
    assert "stored corpus" in built.err
    shown = Run(capsys, "show", "notes")
    assert shown.out == built.out
    for expected in ("licence CC-BY-4.0", "photo.jpg: binary", "email: 1 found", "ad…rg", "leak check: 0", "train"):
        assert expected in shown.out
    assert "ada@engine.org" not in shown.out


def test_json_has_the_same_figures(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(Run(capsys, "build", "notes", "--name", "n", "--pii", "mask", "--json").out)
    assert report["findings"]["action"] == "mask"
    assert sum(row["documents"] for row in report["splits"].values()) == report["steps"][-1]["documents"]
    (listed,) = json.loads(Run(capsys, "ls", "--json").out)
    assert (listed["names"], listed["id"]) == (["n"], report["id"])
    assert listed["documents"] == report["steps"][-1]["documents"]


def test_weights_and_licences_are_given_by_source(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "book.txt").write_text("A line of the book.\n\n" * 200)
    flags = ["--weight", "notes=3", "--licence", "CC0-1.0", "--licence", "book=MIT", "--set", "seed=4"]
    report = json.loads(Run(capsys, "build", "notes", "book.txt", *flags, "--json").out)
    assert [(row["source"], row["weight"]) for row in report["mix"]] == [("notes", 3.0), ("book", 1.0)]
    assert [list(row["licences"]) for row in report["sources"]] == [["CC0-1.0"], ["MIT"]]
    assert report["licence"] == "CC0-1.0 AND MIT"


def test_encodings_are_shown_with_their_certainty_and_set_by_source(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Příští týden přijde opravář, který vymění starý kotel.\n"
    (home / "old.txt").write_bytes((text * 9).encode("cp1250"))
    built = Run(capsys, "build", "notes", "old.txt", "--name", "both")
    assert "cp1250 (guessed, 99 % certain)" in built.out
    assert "--encoding SOURCE=NAME" in built.out
    report = json.loads(Run(capsys, "build", "notes", "old.txt", "--encoding", "old=latin2", "--json").out)
    assert report["encodings"]["files"] == {"iso8859-2": 1}
    assert report["encodings"]["named"] == [{"path": "old.txt", "encoding": "iso8859-2", "encoding_by": "given"}]


def test_two_folders_of_one_name_are_two_sources(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "old" / "notes").mkdir(parents=True)
    (home / "old" / "notes" / "a.md").write_text("Something else was written here long ago, and kept.\n")
    report = json.loads(Run(capsys, "build", "notes", "old/notes", "--json").out)
    assert [row["source"] for row in report["sources"]] == ["notes", "notes.2"]


def test_a_removed_corpus_is_gone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Run(capsys, "build", "notes")
    assert Run(capsys, "rm", "notes", "--yes").code == 0
    assert Run(capsys, "show", "notes").code == 4
    assert json.loads(Run(capsys, "ls", "--json").out) == []


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["build", "nowhere"], 4, "there is no file or folder nowhere"),
        (["build", "empty"], 1, "has no files"),
        (["build", "notes/photo.jpg"], 1, "no text could be read"),
        (["build", "notes", "--weight", "other=2"], 2, "there is no source 'other'"),
        (["build", "notes", "--weight", "notes=much"], 2, "is not a number"),
        (["build", "notes", "--weight", "notes=-1"], 2, "out of range"),
        (["build", "notes", "--set", "min_char=3"], 2, "did you mean `min_chars`?"),
        (["build", "notes", "--set", "min_chars"], 2, "there is no '=' in it"),
        (["build", "notes", "--name", "../up"], 2, "cannot be a name"),
        (["build", "notes", "--encoding", "klingon"], 2, "cp1250"),
        (["build", "notes", "--encoding", "other=cp1250"], 2, "there is no source 'other'"),
        (["build", "notes", "--pii", "hide"], 2, "hide"),
        (["rm", "nothing"], 4, "nothing"),
    ],
)
def test_wrong_input_is_three_lines_and_an_exit_code(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, expected: str
) -> None:
    (home / "empty").mkdir()
    run = Run(capsys, *arguments)
    assert run.code == code
    assert expected in run.err
    assert [line.partition(":")[0] for line in run.err.splitlines()] == ["error", "why", "fix"]
    assert run.out == ""


def test_every_command_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name in corpus_command.commands:
        assert "Example:\n" in Run(capsys, name, "--help").out


def test_pairs_are_made_of_a_table_with_their_context(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"question": f"Who keeps lamp {n}?", "context": f"Ann {n} keeps lamp {n}.", "answer": f"Ann {n}"}
        for n in range(20)
    ]
    (home / "qa.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + "[1]\n")
    (home / "qa.csv").write_text("frage,text,antwort\n" + "".join(f"f{n},t{n},a{n}\n" for n in range(5)))
    made = Run(capsys, "pairs", "qa.jsonl", "--licence", "MIT", "--json")
    assert made.code == 0
    assert "1 lines are not rows" in made.err
    told = json.loads(made.out)
    assert (told["name"], told["licence"], told["rows"]) == ("qa", "MIT", 20)
    stored = Library().get("qa", "questions")
    rows = [row for split in SPLITS for row in read_questions(stored, split)]
    assert {(row["question"], row["context"]) for row in rows} == {(one["question"], one["context"]) for one in lines}
    assert {row["source"].partition("#")[0] for row in rows} == {"qa.jsonl"}
    columns = ["--prompt-column", "frage", "--context-column", "text", "--reply-column", "antwort"]
    assert Run(capsys, "pairs", "qa.csv", "--name", "deutsch", *columns).code == 0
    rows = [row for split in SPLITS for row in read_questions(Library().get("deutsch"), split)]
    assert {row["context"] for row in rows} == {f"t{n}" for n in range(5)}


def test_pairs_of_wrong_files_are_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Run(capsys, "pairs", "gone.jsonl").code == 4
    (home / "x.csv").write_text("a,b\n1,2\n")
    refused = Run(capsys, "pairs", "x.csv")
    assert refused.code == 2
    assert "the columns are a, b" in refused.err
    assert not Library().all()
