"""Libraries that earlier versions made are read; a stored form changes after a backup, which can be put back.

``shared/libraries/form1.tar.xz`` was made before manifests had a form, ``store1.tar.xz`` also before stores had their
second one.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from file_limits import file_size_limit

from seedbed.chat.conversations import Conversations
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError, NewerError, UsageError
from seedbed.core.migrations import back_up
from seedbed.core.sqlite import File
from seedbed.rag.collection import Collection
from seedbed.search.store import Store

LIBRARIES = sorted((Path(__file__).parents[1] / "shared" / "libraries").glob("*.tar.xz"))
ONE = "CREATE TABLE texts (text TEXT)"


@pytest.fixture
def former(tmp_path: Path, request: pytest.FixtureRequest) -> Library:
    """A library that an earlier version made."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    return Library(tmp_path / "home")


def found(library: Library) -> list[str]:
    with closing(Collection.open(library, "notes")) as collection:
        return [hit.chunk.text for hit in collection.search("lamp oil", 1)]


@pytest.mark.parametrize("former", LIBRARIES, ids=lambda path: path.name, indirect=True)
def test_a_library_of_an_earlier_version_is_read(former: Library) -> None:
    assert former.unreadable() == {}
    assert {one.kind for one in former.all()} == {"corpus", "tokenizer"}
    for artifact in former.all():
        artifact.verify()
        assert artifact.manifest.form == 1
    assert former.get("pieces").manifest.parents == (former.get("text").id,)
    assert "stairs" in found(former)[0]
    with Conversations.of(former) as saved:
        assert [one.message.text for one in saved.read("talk")] == ["Where is the oil?", "Below the stairs."]


@pytest.mark.parametrize("former", LIBRARIES[-1:], ids=lambda path: path.name, indirect=True)
def test_a_store_is_kept_as_it_was_and_can_be_put_back(former: Library, capsys: pytest.CaptureFixture[str]) -> None:
    folder = former.root / "docs" / "notes"
    before = found(former)
    [kept] = folder.glob("store.sqlite.form1-*.backup")
    assert kept.name in capsys.readouterr().err
    assert kept.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(kept)) as old:
        assert old.execute("PRAGMA user_version").fetchone()[0] == 1
        assert old.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    (folder / "store.sqlite").unlink()
    shutil.copyfile(kept, folder / "store.sqlite")
    assert found(former) == before
    assert len(list(folder.glob("*.backup"))) == 2  # none is written over


@pytest.mark.parametrize("former", LIBRARIES[-1:], ids=lambda path: path.name, indirect=True)
def test_without_room_for_the_copy_nothing_changes(former: Library) -> None:
    store = former.root / "docs" / "notes" / "store.sqlite"
    with file_size_limit(8192), pytest.raises(CapacityError):
        Store(store)
    with closing(sqlite3.connect(store)) as database:
        assert database.execute("PRAGMA user_version").fetchone()[0] == 1
    assert "stairs" in found(former)[0]


@pytest.mark.parametrize("former", LIBRARIES[:1], ids=lambda path: path.name, indirect=True)
def test_settings_are_kept_before_they_are_written_in_a_new_form(former: Library) -> None:
    with closing(Collection.open(former, "notes")) as collection:
        collection.embed("tfidf")
    folder = former.root / "docs" / "notes"
    [kept] = folder.glob("collection.json.form1-*.backup")
    assert "form" not in json.loads(kept.read_text())
    assert json.loads((folder / "collection.json").read_text())["form"] == 2


def test_a_database_goes_from_form_to_form_after_one_backup(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite3"
    with File(path, ONE) as first, first.writing() as database:
        database.execute("INSERT INTO texts VALUES ('kept')")
    changes = {1: "ALTER TABLE texts ADD COLUMN author TEXT;", 2: "UPDATE texts SET author = 'me';"}
    with File(path, ONE, version=3, changes=changes) as third, third.reading() as database:
        assert database.execute("SELECT * FROM texts").fetchall() == [("kept", "me")]
    assert [one.name.partition(".form1-")[0] for one in tmp_path.glob("*.backup")] == ["some.sqlite3"]
    with pytest.raises(NewerError, match="newer seedbed"):
        File(path, ONE)


def test_a_change_that_fails_leaves_the_form_before(tmp_path: Path) -> None:
    path = tmp_path / "some.sqlite3"
    File(path, ONE).close()
    with pytest.raises(sqlite3.OperationalError):
        File(path, ONE, version=2, changes={1: "ALTER TABLE texts ADD COLUMN author TEXT;\nSELECT none_such;"})
    with File(path, ONE) as still, still.reading() as database:
        assert database.execute("SELECT * FROM texts").fetchall() == []


def test_a_copy_is_its_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text("1")
    copies = [back_up(tmp_path / "one.json", 1) for _ in range(3)]
    assert len(set(copies)) == 3
    assert {one.stat().st_mode & 0o777 for one in copies} == {0o600}


def test_an_earlier_form_in_a_place_that_may_only_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.sqlite3"
    File(path, ONE).close()
    monkeypatch.setattr("seedbed.core.sqlite._may_write", lambda path: False)
    with pytest.raises(UsageError, match="cannot be opened"):
        File(path, ONE, version=2, changes={1: "SELECT 1;"})
    with File(path, ONE) as read, pytest.raises(UsageError, match="cannot be changed"), read.writing():
        pass
