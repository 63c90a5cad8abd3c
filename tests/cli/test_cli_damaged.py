"""One damaged or newer thing in the library is named, and the others go on."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from seedbed.core.artifacts import Artifact, Library
from seedbed.rag.collection import Collection

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    return Library()


def made(library: Library, name: str) -> Artifact:
    with library.writing("tokens", name=name) as draft:
        (draft.path / "data").write_text(name)
    return draft.result


def collected(library: Library, name: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "one.txt").write_text("The lamp oil is kept below the stairs.")
    with closing(Collection.create(library, name)) as collection:
        collection.add([str(folder)])
        return collection.folder


def read(path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(path.read_text())
    return found


def change(artifact: Artifact, **fields: object) -> None:
    path = artifact.path / "manifest.json"
    path.write_text(json.dumps(read(path) | fields))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "binary": lambda path: path.write_bytes(b"\xff\x00\xfe"),
    "another type": lambda path: path.write_text("[1]"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a field of a wrong type": lambda path: path.write_text(json.dumps(read(path) | {"parents": [5]})),
    "a file without size": lambda path: path.write_text(json.dumps(read(path) | {"files": {"a": {}}})),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_manifest_is_named_and_the_rest_goes_on(library: Library, invoke: Run, kind: str) -> None:
    good, bad = made(library, "good"), made(library, "bad")
    DAMAGE[kind](bad.path / "manifest.json")
    code, out, err = invoke("ls")
    assert (code, "good" in out, bad.id[:12] in out) == (0, True, True)
    assert f"cannot be read: the manifest of tokens {bad.id[:12]}" in err
    listed = {one["id"]: one for one in json.loads(invoke("ls", "--json")[1])}
    assert listed[bad.id]["problem"]
    assert (listed[bad.id]["names"], listed[good.id]["problem"]) == (["bad"], "")
    assert invoke("show", "good")[0] == 0
    code, _, err = invoke("show", "bad")
    assert (code, len(err.splitlines())) == (1, 3)
    assert "delete" not in err
    assert invoke("doctor", "--offline")[0] == 1
    assert invoke("rm", "bad", stdin="n\n")[0] != 0
    assert bad.path.exists()
    assert invoke("rm", "bad", "--yes")[0] == 0
    assert [path.name for path in (library.root / "tokens").iterdir()] == [good.id]
    assert library.names() == {"good": good.id}


def test_a_newer_one_is_not_called_damaged(library: Library, invoke: Run) -> None:
    made(library, "good")
    change(made(library, "later"), form=99, files=["another form"])
    code, out, err = invoke("ls")
    assert (code, "good" in out) == (0, True)
    assert "was made by a newer seedbed: its form is 99, this version reads forms up to 2" in err
    code, _, err = invoke("show", "later")
    assert (code, "fix: update seedbed" in err) == (1, True)
    code, _, err = invoke("rm", "later", "--yes")
    assert code == 0


def test_the_first_form_and_unknown_fields_are_read(library: Library, invoke: Run) -> None:
    first, more = made(library, "first"), made(library, "more")
    path = first.path / "manifest.json"
    path.write_text(json.dumps({key: one for key, one in json.loads(path.read_text()).items() if key != "form"}))
    change(more, colour="blue")
    assert (library.get("first").manifest.form, library.get("more").manifest.form) == (1, 2)
    library.get("first").verify()
    assert "blue" in (more.path / "manifest.json").read_text()


REFERENCES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_text(""),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "dangling": lambda path: path.write_text("f" * 64),
    "a link out": lambda path: path.symlink_to("/etc/passwd"),
    "a link to another": lambda path: path.symlink_to("good"),
    "a link in a circle": lambda path: path.symlink_to(path),
    "huge": lambda path: path.write_text("a" * 10_000_000),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_bad_name_is_said_and_can_be_removed_or_taken_again(library: Library, invoke: Run, kind: str) -> None:
    good = made(library, "good")
    REFERENCES[kind](library.root / "refs" / "odd")
    for command in (("ls",), ("show", "good"), ("models", "ls"), ("cp", "good", "another")):
        assert invoke(*command)[0] == 0
    assert "the name odd points to no artifact" in invoke("ls")[2]
    code, _, err = invoke("show", "odd")
    assert (code, len(err.splitlines()), "seedbed rm odd" in err) == (4, 3, True)
    assert invoke("rm", "odd", "--yes")[0] == 0
    assert "odd" not in library.bad_names()
    REFERENCES[kind](library.root / "refs" / "odd")
    library.name("odd", good)
    assert library.get("odd").id == good.id


def test_a_damaged_collection_is_named_and_the_rest_goes_on(library: Library, invoke: Run, tmp_path: Path) -> None:
    collected(library, "good", tmp_path / "text")
    (collected(library, "torn", tmp_path / "text") / "collection.json").write_text("{")
    (collected(library, "gone", tmp_path / "text") / "store.sqlite").unlink()
    later = collected(library, "later", tmp_path / "text")
    (later / "collection.json").write_text('{"form": 99}')
    code, out, err = invoke("docs", "ls")
    assert (code, "good" in out, err.count("cannot be read: the")) == (0, True, 3)
    assert invoke("ls")[0] == 0
    assert [one["name"] for one in json.loads(invoke("docs", "ls", "--json")[1]) if "problem" in one] == [
        "gone",
        "later",
        "torn",
    ]
    for name in ("torn", "gone", "later"):
        code, _, err = invoke("docs", "search", name, "lamp")
        assert (code, len(err.splitlines())) == (1, 3)
        assert invoke("docs", "rm", name, "--yes")[0] == 0
    assert invoke("docs", "search", "good", "lamp")[0] == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chunks SET metadata = 'no json'",
        "UPDATE chunks SET metadata = '[]'",
        "UPDATE vectors SET vector = x'0102'",
        "UPDATE vectors SET vector = 'a text'",
        "UPDATE settings SET value = 'none of its' WHERE key = 'learnt'",
    ],
)
def test_damage_within_a_store_ends_in_three_lines(
    library: Library, invoke: Run, tmp_path: Path, statement: str
) -> None:
    store = collected(library, "notes", tmp_path / "text") / "store.sqlite"
    with closing(sqlite3.connect(store)) as database:
        database.execute("DROP TRIGGER deleted")
        database.execute(statement)
        database.commit()
    code, _, err = invoke("docs", "search", "notes", "lamp oil")
    assert code == 1
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "why", "fix"]
