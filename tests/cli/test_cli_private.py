"""All that is written in the library is its owner's alone; what is exported follows the user's umask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cli_runs
import pytest

LIFE = (
    "corpus build TEXT --name second --licence MIT",
    "tokenizer train second --algorithm byte --name second-pieces",
    "import PUBLISHED --name imported",
    "quantize imported --quantization int8 --name small",
    "docs add fresh TEXT",
    "docs embed words --embedder tfidf",
    "docs search fresh lamp",
    "ask lamp --docs fresh --model tiny",
    "chat tiny --once hello --max-tokens 2 --save said --trace",
    "keys create second",
    "eval tiny TEXT/one.txt",
    "cp tiny other",
    "doctor --offline --verify",
    "serve tiny --port 0",
)
EXPORTS = ("export tiny --output OUT/hf", "export tiny --to gguf --output OUT/gguf")


@pytest.fixture
def umask() -> Iterator[None]:
    """The usual one: others may read what is new."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, str]:
    """Return the permissions of a folder and all in it that differ from the owner's alone."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        usual = 0o700 if path.is_dir() else 0o600
        if (mode := path.stat(follow_symlinks=False).st_mode & 0o777) != usual:
            found[str(path.relative_to(folder))] = oct(mode)
    return found


@pytest.mark.usefixtures("umask")
def test_what_the_library_holds_is_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("SEEDBED_HOME", str(home))
    cli_runs.build(home)
    for path in (home, *home.rglob("*")):  # some of it was not made by a command
        path.chmod(0o700 if path.is_dir() else 0o600)
    (tmp_path / "files" / "OUT").mkdir()
    for line in LIFE:
        told = cli_runs.with_paths(line.split(), tmp_path / "files")
        ended = cli_runs.run(told, home, seconds=6 if line.startswith("serve") else cli_runs.SECONDS)
        assert ended.code in (0, 130), (line, ended)
    assert modes(home) == {}
    kinds = {path.name for path in home.iterdir()}
    assert kinds >= {"corpus", "tokenizer", "model", "refs", "docs", "chat", "serve"}
    for line in EXPORTS:
        assert cli_runs.run(cli_runs.with_paths(line.split(), tmp_path / "files"), home).code == 0
    exported = [path for path in (tmp_path / "files" / "OUT").rglob("*") if path.is_file()]
    assert len(exported) > 3
    assert {oct(path.stat().st_mode & 0o777) for path in exported} == {"0o644"}


@pytest.mark.usefixtures("umask")
def test_a_new_library_and_its_stores_are_private_from_the_first_byte(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("The lamp oil is kept below the stairs.")
    assert cli_runs.run(["docs", "add", "notes", str(tmp_path / "one.txt")], tmp_path / "home").code == 0
    assert modes(tmp_path / "home") == {}
