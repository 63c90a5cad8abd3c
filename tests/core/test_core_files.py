"""Files are the old ones or the new ones, whatever goes wrong."""

from __future__ import annotations

import errno
import hashlib
from pathlib import Path

import pytest
from file_limits import file_size_limit
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core import files
from seedbed.core.errors import CapacityError


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_text_is_replaced_and_nothing_is_left_beside(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "file"
    files.write_text(path, "old")
    files.write_text(path, "näw\n")
    assert path.read_bytes() == "näw\n".encode()
    assert listing(tmp_path) == ["deep", "deep/down", "deep/down/file"]


def test_a_full_disk_keeps_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    with file_size_limit(64_000), pytest.raises(CapacityError, match="disk is full") as caught:
        files.write_text(path, "n" * 65_000)
    assert str(tmp_path) in caught.value.why
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["file"]


def test_text_that_cannot_be_encoded_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        files.write_text(path, "\ud800")
    assert path.read_text() == "old"
    assert listing(tmp_path) == ["file"]


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with files.new_directory(target) as draft:
        (draft / "sub").mkdir()
        (draft / "sub" / "file").write_text("x")
        assert not target.exists()
        assert draft.parent == tmp_path
    assert listing(tmp_path) == ["made", "made/sub", "made/sub/file"]


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for name in ("old", "new"):
        with files.new_directory(target) as draft:
            (draft / name).write_text(name)
    assert listing(tmp_path) == ["made", "made/new"]


def test_a_failed_block_keeps_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with files.new_directory(target) as draft:
        (draft / "old").write_text("old")
    with pytest.raises(FileNotFoundError), files.new_directory(target) as draft:
        (draft / "new").rename(draft / "newer")
    with file_size_limit(64_000), pytest.raises(CapacityError), files.new_directory(target) as draft:
        (draft / "new").write_bytes(bytes(65_000))
    assert listing(tmp_path) == ["made", "made/old"]


def test_the_old_directory_comes_back_when_the_new_one_cannot_take_its_place(tmp_path: Path) -> None:
    target = tmp_path / "made"
    target.mkdir()
    (target / "old").write_text("old")
    with pytest.raises(FileNotFoundError):
        files.replace_directory(tmp_path / "not there", target)
    assert listing(tmp_path) == ["made", "made/old"]


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("I/O error: Os { code: 28 } (os error 28)"), True),
        (RuntimeError("something (os error 2)"), False),
        (ValueError("28"), False),
    ],
)
def test_only_a_full_disk_becomes_a_capacity_error(tmp_path: Path, error: Exception, full: bool) -> None:
    with pytest.raises(CapacityError if full else type(error)) as caught, files.disk_errors(tmp_path):
        raise error
    assert (caught.value.__cause__ if full else caught.value) is error


def test_a_rust_writer_s_full_disk_is_understood(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    with file_size_limit(64_000), pytest.raises(CapacityError), files.disk_errors(tmp_path):
        save_file({"x": torch.zeros(20_000)}, tmp_path / "x.safetensors")


@given(st.binary(max_size=300))
def test_hashes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "hashed"
    path.write_bytes(data)
    assert files.sha256_file(path) == hashlib.sha256(data).hexdigest()


def test_canonical_json_does_not_depend_on_order() -> None:
    assert files.canonical_json({"b": [1, (2,)], "a": "ü"}) == '{"a":"ü","b":[1,[2]]}'
    with pytest.raises(ValueError, match="Out of range"):
        files.canonical_json(float("nan"))


def test_a_text_is_read_only_from_a_file_of_its_size(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("é\r\nb\rc".encode())
    assert files.read_text(tmp_path / "a") == (tmp_path / "a").read_text(encoding="utf-8") == "é\nb\nc"
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(10**11)
    for path in (tmp_path / "hole", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"it has more than|it is no regular"):
            files.read_text(path, 1000)
