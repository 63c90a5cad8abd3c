"""Keys: shown once, kept as hashes in a file for its owner only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from seedbed.core import files
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.serve.auth import Keys


def test_a_key_is_known_by_its_hash_only(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "keys.json"
    keys = Keys(path)
    key, other = keys.create("laptop"), keys.create("phone")
    assert len({key, other}) == 2
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert key not in text
    assert key.removeprefix("sb-") not in text
    assert keys.owner(key) != keys.owner(other)
    assert Keys(path).owner(key) == keys.owner(key) is not None
    for wrong in ("", key[:-1], key + "x", key.upper(), "ключ"):
        assert keys.owner(wrong) is None


def test_keys_are_removed_by_name(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    key, other = keys.create("laptop"), keys.create("phone")
    keys.remove("laptop")
    assert keys.owner(key) is None
    assert keys.owner(other)
    with pytest.raises(NotFoundError):
        keys.remove("laptop")


def test_a_session_key_is_written_nowhere(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    assert keys.owner(keys.for_session())
    assert not list(tmp_path.iterdir())


def test_names_are_unique_and_safe(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json")
    keys.create("laptop")
    for name in ("laptop", "", "../x", "a b"):
        with pytest.raises(UsageError):
            keys.create(name)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"keys": [{}]}', '{"keys": 5}'])
def test_a_damaged_file_opens_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys.json"
    key = Keys(path).create("laptop")
    path.write_text(text)
    with pytest.raises(CorruptError):
        Keys(path).owner(key)
    path.write_text(json.dumps({"keys": []}))
    assert Keys(path).owner(key) is None


def test_the_file_is_read_again_only_when_it_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, reads = tmp_path / "keys.json", list[Path]()
    keys, read = Keys(path), files.read_json
    monkeypatch.setattr(files, "read_json", lambda one: reads.append(one) or read(one))
    key = Keys(path).create("laptop")
    reads.clear()
    assert all(keys.owner(key) for _ in range(100))
    assert len(reads) == 1
    Keys(path).remove("laptop")
    assert keys.owner(key) is None
    path.unlink()
    assert keys.owner(key) is None
