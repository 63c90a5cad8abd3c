"""Small state files: no change lost, whoever else changes them, and clear errors where they cannot be."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from filelock import FileLock

from seedbed.core.artifacts import Library
from seedbed.core.errors import SeedbedError, UsageError
from seedbed.core.files import read_json
from seedbed.core.locking import changing_json, locked
from seedbed.serve.auth import Keys


def count_up(path: Path) -> None:
    with changing_json(path, {"count": 0}) as value:
        value["count"] += 1


def test_processes_and_threads_lose_no_change(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    code = (
        "import sys; from pathlib import Path; from seedbed.core.locking import changing_json\n"
        "for _ in range(20):\n"
        "    with changing_json(Path(sys.argv[1]), {'count': 0}) as value: value['count'] += 1\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(3)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count_up, [path] * 40))
    assert [one.wait() for one in others] == [0, 0, 0]
    assert read_json(path) == {"count": 100}


def test_nothing_is_written_where_the_block_raises(tmp_path: Path) -> None:
    count_up(path := tmp_path / "state.json")
    with suppress(KeyError), changing_json(path, {}) as value:
        value["count"] = 9
        raise KeyError
    assert read_json(path) == {"count": 1}


def test_a_lock_held_too_long_is_told(tmp_path: Path) -> None:
    with locked(tmp_path / "a"), pytest.raises(SeedbedError, match="is in use"), locked(tmp_path / "a", wait=0.1):
        pass


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FileLock, "acquire", refuse)  # root may write everywhere
    with pytest.raises(UsageError, match="cannot be changed"), locked(tmp_path / "a"):
        pass


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be changed"), locked(tmp_path / "file" / "a"):
        pass


def test_keys_made_and_removed_side_by_side(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "serve" / "keys.json")
    for name in "abcd":
        keys.create(name)
    code = (
        "import sys; from pathlib import Path; from seedbed.serve.auth import Keys\n"
        "keys = Keys(Path(sys.argv[1]))\n"
        "keys.remove(sys.argv[2]) if len(sys.argv[2]) == 1 else keys.create(sys.argv[2])\n"
    )
    wanted = ["a", "b", "new1", "c", "new2", "d", "new3", "new4"]
    run = [sys.executable, "-c", code, str(tmp_path / "serve" / "keys.json")]
    others = [subprocess.Popen([*run, name]) for name in wanted]
    assert [one.wait() for one in others] == [0] * 8
    assert sorted(entry["name"] for entry in keys.entries()) == ["new1", "new2", "new3", "new4"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "serve").iterdir()} == {0o600}


def test_a_name_moved_by_many_points_to_one_of_theirs(tmp_path: Path) -> None:
    library = Library(tmp_path)
    made = []
    for text in "ab":
        with library.writing("model") as draft:
            (draft.path / "text").write_text(text)
        made.append(draft.result)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda one: library.name("mine", one), made * 10))
    assert library.names()["mine"] in {one.id for one in made}
    assert list(library.names()) == ["mine"]
