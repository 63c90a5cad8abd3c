"""`seedbed show` and `seedbed ls` on a library with a real corpus, and one byte changed in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.core.artifacts import Library

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def seedbed(invoke: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a command line with a new library: exit code, standard output, standard error."""
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    return invoke


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Five small files."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(5):
        words = [f"word{(number + 3) * index % 97} of note {number}, sentence {index}." for index in range(60)]
        (folder / f"note{number}.txt").write_text("\n".join(words))
    return folder


def build(seedbed: Run, text: Path) -> None:
    assert seedbed("corpus", "build", str(text), "--name", "notes", "--licence", "MIT", "-q")[0] == 0
    assert seedbed("tokenizer", "train", "notes", "--algorithm", "byte", "--name", "pieces", "-q")[0] == 0


def identity(seedbed: Run, name: str) -> str:
    return str(json.loads(seedbed("show", name, "--json")[1])["id"])


def test_the_tree_goes_down_to_the_raw_files(seedbed: Run, text: Path) -> None:
    build(seedbed, text)
    code, out, err = seedbed("show", "pieces")
    hashes = [hashlib.sha256((text / f"note{n}.txt").read_bytes()).hexdigest()[:12] for n in range(5)]
    assert (code, err) == (0, "")
    assert out[out.index("\n\n") + 2 :].splitlines() == [
        f"tokenizer {identity(seedbed, 'pieces')[:12]} pieces",
        f"└─ corpus {identity(seedbed, 'notes')[:12]} notes",
        f"   ├─ 5 raw files, {sum(path.stat().st_size for path in text.iterdir()) / 1000:.1f} kB",
        *(f"   ├─ notes: note{number}.txt {hashes[number]}" for number in range(3)),
        "   └─ … 2 more (--all)",
    ]
    lines = seedbed("show", "pieces", "--all")[1].splitlines()
    assert lines[-1] == f"   └─ notes: note4.txt {hashes[4]}"


def test_the_summary(seedbed: Run, text: Path) -> None:
    build(seedbed, text)
    out = seedbed("show", "notes")[1]
    facts = dict(line.split(maxsplit=1) for line in out.split("\n\n")[0].splitlines() if not line.startswith(" "))
    assert facts["kind"] == "corpus"
    assert facts["id"] == identity(seedbed, "notes")
    assert facts["names"] == "notes"
    assert facts["config"].startswith("sources = [")
    assert "more (--all)" in out
    assert "more (--all)" not in seedbed("show", "notes", "--all")[1]


def test_json_holds_the_manifest_and_the_family(seedbed: Run, text: Path, tmp_path: Path) -> None:
    build(seedbed, text)
    shown = json.loads(seedbed("show", "pieces", "--json")[1])
    artifact = Library(tmp_path / "home").get("pieces")
    assert (shown["id"], shown["kind"], shown["names"]) == (artifact.id, "tokenizer", ["pieces"])
    assert shown["bytes"] == sum(shown["files"].values()) == artifact.size
    assert shown["config"] == artifact.manifest.config
    corpus = shown["family"]["parents"][0]
    assert corpus["kind"] == "corpus"
    assert [file["path"] for file in corpus["raw_files"]] == [f"note{number}.txt" for number in range(5)]


def test_one_byte_of_one_file_changes_every_descendant(seedbed: Run, text: Path) -> None:
    build(seedbed, text)
    before = [identity(seedbed, name) for name in ("notes", "pieces")]
    build(seedbed, text)
    assert [identity(seedbed, name) for name in ("notes", "pieces")] == before
    first = text / "note0.txt"
    first.write_bytes(first.read_bytes() + b" ")  # cleaning removes it again, and the ids change all the same
    build(seedbed, text)
    after = [identity(seedbed, name) for name in ("notes", "pieces")]
    assert not set(before) & set(after)
    assert before[0] in seedbed("show", before[1], "--json")[1]


def test_verify_finds_damage_in_an_ancestor(seedbed: Run, text: Path, tmp_path: Path) -> None:
    build(seedbed, text)
    code, _, err = seedbed("show", "pieces", "--verify")
    assert (code, err) == (0, "verified 2 artifacts: every file has the hash it was stored with\n")
    damaged = Library(tmp_path / "home").get("notes").file("train.jsonl.zst")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert seedbed("show", "pieces")[0] == 0
    code, out, err = seedbed("show", "pieces", "--verify")
    assert (code, out) == (1, "")
    assert err.startswith("error: corpus ")
    assert str(damaged) in err


def test_a_lost_list_of_raw_files_is_three_lines(seedbed: Run, text: Path, tmp_path: Path) -> None:
    build(seedbed, text)
    Library(tmp_path / "home").get("notes").file("sources.jsonl").unlink()
    code, _, err = seedbed("show", "pieces")
    assert code == 1
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "why", "fix"]


def test_ls_lists_newest_first_and_by_kind(seedbed: Run, text: Path) -> None:
    assert seedbed("ls")[1:] == ("", f"{Library().root} holds no artifacts yet\n")
    build(seedbed, text)
    code, out, err = seedbed("ls")
    assert (code, err) == (0, "")
    header, *rows = out.splitlines()
    assert header.split() == ["kind", "id", "names", "created", "(UTC)", "size"]
    assert [row.split()[:3] for row in rows] == [
        [kind, identity(seedbed, name)[:12], name] for kind, name in (("tokenizer", "pieces"), ("corpus", "notes"))
    ]
    assert [row.split()[0] for row in seedbed("ls", "--kind", "corpus")[1].splitlines()[1:]] == ["corpus"]
    assert seedbed("ls", "--kind", "model")[2].endswith("holds no model yet\n")
    listed = json.loads(seedbed("ls", "--json")[1])
    assert [row["names"] for row in listed] == [["pieces"], ["notes"]]
    assert json.loads(seedbed("ls", "--kind", "model", "--json")[1]) == []


@pytest.mark.parametrize("reference", ["nothing", "0123456789ab", ""])
def test_what_is_not_there(seedbed: Run, reference: str) -> None:
    code, out, err = seedbed("show", reference)
    assert (code, out) == (4, "")
    assert err.startswith(f"error: no artifact called {reference!r}\nwhy: ")
