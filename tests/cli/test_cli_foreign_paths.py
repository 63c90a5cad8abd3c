"""Paths from outside that are no files: every command that takes one says so at once, and waits for nothing."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from seedbed.cli import common
from seedbed.cli.main import main
from seedbed.core.artifacts import Library

pytestmark = [pytest.mark.timeout(30), pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pipes with the names of files."""
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    folder = tmp_path / "pipes"
    folder.mkdir()
    for name in ("a.txt", "a.toml", "a.gguf", "a.jsonl", "a.json.gz", "a.parquet", "tokenizer.json", "config.json"):
        os.mkfifo(folder / name)
    (folder / "link.jsonl").symlink_to("a.jsonl")
    (folder / "circle.txt").symlink_to("circle.txt")
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "docs add notes {}/a.txt",
        "docs add notes {}",
        "docs add notes /dev/zero",
        "corpus build {}/a.txt",
        "corpus build {}",
        "corpus build {}/circle.txt",
        "corpus pairs {}/a.jsonl",
        "corpus pairs {}/link.jsonl",
        "corpus pairs {}/a.json.gz",
        "corpus pairs {}/a.parquet",
        "tokenizer train {}/a.txt",
        "tokenizer train {}/circle.txt",
        "tokenizer train {}",
        "tokenizer train /dev/zero",
        "tokenizer show {}/tokenizer.json",
        "tokenizer show {}",
        "train {}/a.toml",
        "plan {}/a.toml",
        "import {}",
        "import {}/a.gguf",
        "import {}/a.toml",
        "import /dev/zero",
        "fit {}",
        "fit {}/a.gguf",
    ],
)
def test_a_pipe_or_device_is_refused_at_once(place: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command.format(*[place] * command.count("{}")).split())
    assert stopped.value.code in (1, 2, 4)
    assert "Traceback" not in capsys.readouterr().err


def test_a_folder_of_texts_is_read_without_what_links_lead_out_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    (tmp_path / "secret.txt").write_text("hunter2 " * 200)
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a.txt").write_text("".join(f"word{number} and others. " for number in range(300)))
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "up").symlink_to(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(["tokenizer", "train", str(folder), "--vocab-size", "265", "--name", "one"])
    assert (stopped.value.code, "left out: 2 symbolic links" in capsys.readouterr().err) == (0, True)
    (folder / "out.txt").unlink()
    (folder / "up").unlink()
    with pytest.raises(SystemExit):
        main(["tokenizer", "train", str(folder), "--vocab-size", "265", "--name", "two"])
    library = Library()
    assert library.get("one").id == library.get("two").id


def test_standard_input_without_an_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "_MAX_INPUT", 1000)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"words " * 1000), encoding="utf-8"))
    with pytest.raises(SystemExit) as stopped:
        main(["run", "nosuch", "-"])
    assert stopped.value.code == 5
    assert "standard input is too long" in capsys.readouterr().err
