"""The library: ids by content, one changed byte down a chain, names, damage, and a process that is killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CapacityError, CorruptError, NotFoundError, UsageError


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "home")


def store(library: Library, content: bytes | dict[str, bytes], *parents: Artifact, **known: object) -> Artifact:
    """An artifact of kind ``thing`` with one file ``data``, or several."""
    kind, name = str(known.pop("kind", "thing")), known.pop("name", None)
    with library.writing(kind, parents=parents, config=known, name=None if name is None else str(name)) as draft:
        for path, data in (content if isinstance(content, dict) else {"data": content}).items():
            (draft.path / path).parent.mkdir(exist_ok=True)
            (draft.path / path).write_bytes(data)
    return draft.result


def test_the_id_is_the_hash_of_kind_parents_and_file_hashes(library: Library) -> None:
    parent = store(library, b"p")
    made = store(library, {"a": b"1", "sub/b": b"2"}, parent)
    digests = {"a": hashlib.sha256(b"1").hexdigest(), "sub/b": hashlib.sha256(b"2").hexdigest()}
    described = {"files": digests, "kind": "thing", "parents": [parent.id]}
    assert made.id == hashlib.sha256(json.dumps(described, separators=(",", ":")).encode()).hexdigest()
    assert made.path == library.root / "thing" / made.id
    assert made.size == 2
    assert made.file("sub/b").read_bytes() == b"2"


def test_the_id_depends_on_nothing_else(library: Library, tmp_path: Path) -> None:
    first = store(library, b"x", seed=1, name="first")
    with Library(tmp_path / "elsewhere").writing("thing", config={"seed": 2}) as draft:
        (draft.path / "data").write_bytes(b"x")
        draft.metrics, draft.licence = {"loss": 3.0}, "MIT"
    assert draft.result.id == first.id
    assert draft.result.manifest.metrics == {"loss": 3.0}
    different = [
        store(library, b"y"),
        store(library, {"other": b"x"}),
        store(library, b"x", kind="kind"),
        store(library, b"x", first),
    ]
    assert len({first.id, *(artifact.id for artifact in different)}) == 5


def test_one_changed_byte_changes_every_descendant(tmp_path: Path) -> None:
    def chain(library: Library, text: bytes) -> list[str]:
        corpus = store(library, text, kind="corpus")
        tokenizer = store(library, b"the same", corpus, kind="tokenizer")
        tokens = store(library, b"the same", corpus, tokenizer, kind="tokens")
        return [corpus.id, tokenizer.id, tokens.id, store(library, b"the same", tokens, kind="model").id]

    before, again = chain(Library(tmp_path / "a"), b"text"), chain(Library(tmp_path / "b"), b"text")
    after = chain(Library(tmp_path / "a"), b"texu")
    assert before == again
    assert len({*before, *after}) == 8


def test_the_same_content_is_stored_once(library: Library) -> None:
    first, second = store(library, b"x", name="one"), store(library, b"x", name="two")
    assert first == second
    assert library.names_of(first) == ["one", "two"]
    assert [path.name for path in (library.root / "thing").iterdir()] == [first.id]


def test_storing_again_mends_a_damaged_one(library: Library) -> None:
    made = store(library, b"x")
    made.file("data").write_bytes(b"y")
    with pytest.raises(CorruptError):
        library.get(made.id).verify()
    store(library, b"x").verify()
    assert made.file("data").read_bytes() == b"x"
    assert [path.name for path in (library.root / "thing").iterdir()] == [made.id]


def test_names_move(library: Library) -> None:
    first = store(library, b"1", name="best")
    second = store(library, b"2", name="best")
    assert library.get("best") == second
    assert library.get(first.id) == first
    library.name("best", first)
    assert library.names() == {"best": first.id}


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "-x", "a b", "ä", "x" * 101, "0" * 64])
def test_names_that_are_refused(library: Library, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a name"):
        store(library, b"x", name=name)
    assert library.all() == []


def test_a_failed_block_stores_nothing_and_moves_no_name(library: Library) -> None:
    first = store(library, b"1", name="best")
    with pytest.raises(FileNotFoundError), library.writing("thing", name="best") as draft:
        (draft.path / "data").rename(draft.path / "there is none")
    assert library.get("best") == first
    assert library.all() == [first]
    assert [path.name for path in (library.root / "thing").iterdir()] == [first.id]
    with pytest.raises(RuntimeError):
        _ = draft.result


def test_look_up_by_the_beginning_of_an_id(library: Library) -> None:
    made = store(library, b"x")
    assert library.get(made.id[:6]) == made
    with pytest.raises(NotFoundError):
        library.get(made.id[:5])
    with pytest.raises(NotFoundError, match="no thing called 'nothing'"):
        library.get("nothing", "thing")
    with pytest.raises(NotFoundError, match="is not a model") as caught:
        library.get(made.id, "model")
    assert caught.value.why == "it is a thing"


def test_a_beginning_that_fits_two_is_ambiguous(library: Library) -> None:
    made = store(library, b"x")
    twin = made.path.with_name(made.id[:8] + "f" * 56)
    shutil.copytree(made.path, twin)
    with pytest.raises(UsageError, match="fits 2 artifacts") as caught:
        library.get(made.id[:8])
    assert made.id[:16] in caught.value.why
    assert twin.name[:16] in caught.value.why


def test_a_name_goes_before_the_beginning_of_an_id(library: Library) -> None:
    first, second = store(library, b"1"), store(library, b"2")
    library.name(first.id[:8], second)
    assert library.get(first.id[:8]) == second


def test_what_is_not_found_lists_the_names_of_the_kind(library: Library) -> None:
    store(library, b"1", kind="model", name="mine")
    store(library, b"2", kind="corpus", name="text")
    with pytest.raises(NotFoundError) as caught:
        library.get("nine", "model")
    assert caught.value.why == f"{library.root} holds mine"


def test_parents_and_children(library: Library) -> None:
    grandparent = store(library, b"1")
    parents = [store(library, b"2", grandparent), store(library, b"3")]
    child = store(library, b"4", *parents)
    assert library.parents(child) == parents
    assert library.children(grandparent) == [parents[0]]
    assert library.children(child) == []


def test_what_is_needed_cannot_be_removed(library: Library) -> None:
    parent = store(library, b"1", name="parent")
    child = store(library, b"2", parent, name="child")
    with pytest.raises(UsageError, match="still needed") as caught:
        library.remove("parent")
    assert child.id[:12] in caught.value.why
    library.remove("child")
    assert library.names() == {"parent": parent.id}
    library.remove("parent")
    assert library.all() == []
    assert list((library.root / "thing").iterdir()) == []
    assert store(library, b"1").id == parent.id


def test_all_newest_first(library: Library) -> None:
    ids = [store(library, bytes([number])).id for number in range(3)]
    stamped = library.root / "thing"
    for number, identity in enumerate(ids):
        path = stamped / identity / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"created": f"2026-01-0{number + 1}T00:00:00"}))
    assert [artifact.id for artifact in library.all("thing")] == ids[::-1]
    assert library.all("other") == []


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (flip, "no longer has the hash"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "has 4 bytes, 5 were written"),
        (Path.unlink, "is missing"),
    ],
)
def test_damage_is_found(library: Library, damage: object, found: str) -> None:
    made = store(library, {"a": b"first", "sub/b": b"other"})
    made.verify()
    damage(made.file("sub/b"))  # type: ignore[operator]
    with pytest.raises(CorruptError, match="is damaged") as caught:
        library.get(made.id).verify()
    assert found in caught.value.why
    assert str(made.file("sub/b")) in caught.value.why


@pytest.mark.parametrize(
    "changed", [{"kind": "model"}, {"parents": ["0" * 64]}, {"files": {"data": {"sha256": "0" * 64, "bytes": 1}}}]
)
def test_a_changed_manifest_is_found(library: Library, changed: dict[str, object]) -> None:
    made = store(library, b"x")
    path = made.path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    with pytest.raises(CorruptError, match="is damaged") as caught:
        library.get(made.id).verify()
    assert "no longer fits the id" in caught.value.why


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "thing"}', "null"])
def test_a_manifest_that_cannot_be_read(library: Library, text: str) -> None:
    made = store(library, b"x")
    (made.path / "manifest.json").write_text(text)
    with pytest.raises(CorruptError, match=r"manifest of thing .* cannot be read") as caught:
        library.get(made.id)
    assert str(made.path) in caught.value.why
    assert f"`seedbed rm {made.id[:12]}`" in caught.value.fix


def test_a_file_that_is_not_there(library: Library) -> None:
    with pytest.raises(NotFoundError, match="has no file 'other'") as caught:
        store(library, b"x").file("other")
    assert caught.value.why == "it holds data"


def test_a_library_that_is_not_there_is_empty(library: Library) -> None:
    assert library.all() == []
    assert library.names() == {}
    with pytest.raises(NotFoundError):
        library.get("x")


def test_where_the_library_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "there"))
    assert Library().root == tmp_path / "there"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Library(Path("~/here")).root == tmp_path / "here"


WRITER = """
import sys
from pathlib import Path
from seedbed.core.artifacts import Library
with Library(Path(sys.argv[1])).writing("thing", name="best") as draft:
    (draft.path / "data").write_bytes(b"half of it")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_process_killed_while_writing_leaves_the_library_whole(library: Library) -> None:
    first = store(library, b"1", name="best")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", WRITER, str(library.root)], stdin=pipe, stdout=pipe) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    assert library.get("best") == first
    assert library.all() == [first]
    first.verify()
    assert store(library, b"half of it", name="best").file("data").read_bytes() == b"half of it"


def test_a_full_disk_stores_nothing(library: Library) -> None:
    """A real limit on file size stands for the full disk."""
    import resource

    first = store(library, b"1", name="best")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64_000, hard))
    try:
        with pytest.raises(CapacityError, match="disk is full"):
            store(library, bytes(65_000), name="best")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert library.get("best") == first
    assert [path.name for path in (library.root / "thing").iterdir()] == [first.id]


def test_a_name_of_another_kind_is_not_taken(tmp_path: Path) -> None:
    library = Library(tmp_path)
    with library.writing("model", name="mine") as draft:
        (draft.path / "a").write_text("1")
    with pytest.raises(UsageError, match="model of the library"), library.writing("questions", name="mine") as other:
        (other.path / "a").write_text("2")
    assert library.get("mine") == draft.result
    with library.writing("questions") as nameless:
        (nameless.path / "a").write_text("3")
    with pytest.raises(UsageError):
        library.name("mine", nameless.result)


def test_a_name_never_points_to_what_was_removed_meanwhile(library: Library) -> None:
    made = store(library, b"x")
    library.remove(made.id)
    with pytest.raises(NotFoundError, match="fresh cannot point to it"):
        library.name("fresh", made)
    assert library.names() == {}


def test_names_given_while_artifacts_go_point_to_what_is_there(library: Library) -> None:
    kept = store(library, b"kept")

    def work(number: int) -> None:
        made = store(library, bytes([number]))
        with suppress(NotFoundError):
            library.name("shared", made if number % 2 else kept)
        if number % 3 == 0:
            library.remove(made.id)
        elif number % 3 == 1:
            library.unname("shared")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(60)))
    assert library.bad_names() == {}
    assert library.get(kept.id).id == kept.id
