"""Safetensors in and out, against the ``safetensors`` library; hostile headers and indexes; memory."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from file_limits import file_size_limit
from safetensors.torch import load_file, save_file
from torch import Tensor

from seedbed.core.errors import CapacityError, CorruptError, NotFoundError, UsageError
from seedbed.formats.safetensors.file import DTYPES
from seedbed.formats.safetensors.shards import open_safetensors
from seedbed.formats.safetensors.writing import write_safetensors

ALL_KINDS = sorted(DTYPES.values(), key=str)


def sample(dtype: torch.dtype, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Random bits that are no NaN, so that they compare."""
    bits = torch.randint(0, 2, (*shape, 1), generator=torch.Generator().manual_seed(seed))[..., 0]
    return bits.to(dtype) if dtype is torch.bool else (bits * 3 + 1).to(torch.float32).to(dtype)


def many() -> dict[str, Tensor]:
    """A tensor of each type, odd sizes first so that later ones lie askew, an empty one and a scalar."""
    found = {f"t.{dtype}": sample(dtype, (3, 5), seed) for seed, dtype in enumerate(ALL_KINDS)}
    return {"odd": sample(torch.uint8, (7,)), **found, "empty": torch.empty(0, 4), "scalar": torch.tensor(2.5)}


def equal(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(flat(a), flat(b))


def flat(tensor: Tensor) -> Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8) if tensor.numel() else torch.empty(0)


def test_what_the_library_writes_opens_here(tmp_path: Path) -> None:
    save_file(many(), tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors"):
        opened = open_safetensors(path)
        assert sorted(opened.names()) == sorted(many())
        for name, tensor in many().items():
            assert (opened.shape(name), opened.dtype(name)) == (tuple(tensor.shape), tensor.dtype)
            assert equal(opened.read(name), tensor), name
            assert opened.read(name).is_contiguous()


def test_what_is_written_here_opens_with_the_library(tmp_path: Path) -> None:
    turned = {**many(), "turned": torch.arange(12.0).view(3, 4).T}
    assert write_safetensors(tmp_path, turned.items()) == [tmp_path / "model.safetensors"]
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == turned.keys()
    assert all(equal(found[name], tensor) for name, tensor in turned.items())
    again = open_safetensors(tmp_path)
    assert list(again.names()) == list(turned)  # in the order they came
    assert all(equal(again.read(name), tensor) for name, tensor in turned.items())
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_shards_have_an_index_that_transformers_names(tmp_path: Path) -> None:
    tensors = {f"layer.{i}": torch.full((10,), float(i)) for i in range(5)}
    written = write_safetensors(tmp_path, tensors.items(), shard_bytes=80)
    assert [path.name for path in written] == [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 200
    assert {name: load_file(tmp_path / file)[name][0].item() for name, file in index["weight_map"].items()} == {
        f"layer.{i}": i for i in range(5)
    }
    opened = open_safetensors(tmp_path)
    assert [opened.read(name)[0].item() for name in opened.names()] == [0, 1, 2, 3, 4]
    assert max(path.stat().st_size for path in written) < 80 + 300


def test_a_tensor_larger_than_a_shard_has_its_own(tmp_path: Path) -> None:
    tensors = {"small": torch.zeros(2), "large": torch.zeros(100), "last": torch.zeros(2)}
    assert len(write_safetensors(tmp_path, tensors.items(), shard_bytes=50)) == 3


def test_fewer_shards_than_before_leave_no_old_index(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"a": torch.zeros(9), "b": torch.zeros(9)}.items(), shard_bytes=40)
    write_safetensors(tmp_path, {"c": torch.ones(9)}.items())
    assert list(open_safetensors(tmp_path).names()) == ["c"]
    write_safetensors(tmp_path, {"a": torch.zeros(9), "b": torch.zeros(9)}.items(), shard_bytes=40)
    assert list(open_safetensors(tmp_path).names()) == ["a", "b"]


def test_a_failure_while_writing_keeps_what_was_there(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"a": torch.ones(3)}.items())

    def broken() -> Iterator[tuple[str, Tensor]]:
        yield "a", torch.zeros(3)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_safetensors(tmp_path, broken())
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert open_safetensors(tmp_path).read("a").tolist() == [1, 1, 1]


def test_a_full_disk_keeps_what_was_there(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"a": torch.ones(3)}.items())
    with file_size_limit(100_000), pytest.raises(CapacityError):
        write_safetensors(tmp_path, {"a": torch.zeros(100_000)}.items())
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert open_safetensors(tmp_path).read("a").tolist() == [1, 1, 1]


def test_writing_to_what_was_read_leaves_the_file_alone(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"a": torch.ones(100_000)}.items())
    opened = open_safetensors(tmp_path)
    first, second = opened.read("a"), opened.read("a")
    first.zero_()
    assert second.sum() == 100_000
    second.fill_(2)
    del first
    assert second.sum() == 200_000
    assert opened.read("a").sum() == 100_000
    assert load_file(tmp_path / "model.safetensors")["a"].sum() == 100_000


def test_thousands_of_tensors_take_no_open_files(tmp_path: Path) -> None:
    write_safetensors(tmp_path, ((f"t{i}", torch.full((2**14,), float(i))) for i in range(1500)))
    opened = open_safetensors(tmp_path)
    held = [opened.read(name) for name in opened.names()]
    assert [tensor[-1].item() for tensor in held] == list(range(1500))
    assert len(list(Path("/proc/self/fd").iterdir())) < 500


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def raw(path: Path, header: Any, data: bytes = b"1234", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


ONE = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
HOSTILE: dict[str, tuple[Any, bytes, int | None]] = {
    "length past the end": (b"{}", b"", 10_000),
    "length of 99 MB": (b"{}", b"", 99_000_000),
    "length above the format's cap": (b"{" + ONE + b"}", b"1234", 100_000_001),
    "length of 2**63": (b"{}", b"", 2**63),
    "length of 2**64 - 1": (b"{}", b"", 2**64 - 1),
    "overlap": ({"a": entry(), "b": entry()}, b"1234", None),
    "part overlap": ({"a": entry(), "b": entry(offsets=(2, 6))}, b"123456", None),
    "gap": ({"a": entry(), "b": entry(offsets=(6, 10))}, b"1234567890", None),
    "past the end": ({"a": entry(offsets=(4, 8))}, b"1234", None),
    "backwards": ({"a": entry(offsets=(4, 0))}, b"1234", None),
    "negative": ({"a": entry(offsets=(-4, 0))}, b"1234", None),
    "unknown type": ({"a": entry("Q7")}, b"1234", None),
    "shape larger than bytes": ({"a": entry(shape=(2,))}, b"1234", None),
    "shape that overflows": ({"a": entry(shape=(2**63, 2))}, b"1234", None),
    "shape that wraps to 1": ({"a": entry(shape=(2**32, 2**32 + 1))}, b"1234", None),
    "shape of no elements that overflows": ({"a": entry(shape=(0, 2**63), offsets=(0, 0))}, b"", None),
    "negative shape": ({"a": entry(shape=(-1,))}, b"1234", None),
    "no shape": ({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, b"1234", None),
    "a name twice": (b"{" + ONE + b"," + ONE + b"}", b"1234", None),
    "deep nesting": (b'{"a":' * 20_000, b"", None),
    "deep lists": (b"[" * 100_000, b"", None),
    "not UTF-8": (b'{"\xff":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234", None),
    "UTF-16": (b"\xff\xfe{\x00}\x00", b"", None),
    "not JSON": (b"hello", b"", None),
    "a list": (b"[]", b"", None),
    "bytes left over": ({"a": entry()}, b"12345", None),
    "metadata that is no table": ({"__metadata__": 3}, b"", None),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused(tmp_path: Path, case: str) -> None:
    path = raw(tmp_path / "model.safetensors", *HOSTILE[case])
    with pytest.raises(CorruptError) as caught:
        open_safetensors(path)
    assert str(path) in caught.value.what
    assert caught.value.why
    assert caught.value.fix


@pytest.mark.parametrize("keep", [0, 4, 8, 40, -1])
def test_a_truncated_file_says_so(tmp_path: Path, keep: int) -> None:
    write_safetensors(tmp_path, {"a": torch.ones(50)}.items())
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CorruptError, match="ended early"):
        open_safetensors(tmp_path)


def test_a_file_cut_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    write_safetensors(tmp_path, {"a": torch.ones(50), "b": torch.ones(50)}.items())
    opened, path = open_safetensors(tmp_path), tmp_path / "model.safetensors"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 8)
    assert opened.read("a").sum() == 50
    with pytest.raises(CorruptError, match="ends early"):
        opened.read("b")


def test_a_type_that_pytorch_lacks_is_refused_when_read(tmp_path: Path) -> None:
    raw(
        tmp_path / "model.safetensors",
        {"a": entry("F6_E2M3", (16,), (0, 12)), "b": entry(offsets=(12, 16))},
        b"\0" * 16,
    )
    opened = open_safetensors(tmp_path)
    assert opened.read("b").tolist() == [0]
    with pytest.raises(UsageError, match="'a'"):
        opened.read("a")


def sharded(folder: Path, places: Any) -> Path:
    folder.mkdir()
    save_file({"a": torch.ones(1)}, folder / "x.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


@pytest.mark.parametrize(
    "name",
    [
        *("../x.safetensors", "../model/x.safetensors", "/etc/x.safetensors", "a/../x.safetensors"),
        *("sub/x.safetensors", "..", ".", "", "x.safetensors\0", "..\\x.safetensors", "config.json"),
        "linked.safetensors",
    ],
)
def test_shards_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    save_file({"a": torch.ones(1)}, tmp_path / "x.safetensors")
    folder = sharded(tmp_path / "model", {"a": name})
    (folder / "sub").mkdir()
    save_file({"a": torch.ones(1)}, folder / "sub/x.safetensors")
    (folder / "linked.safetensors").symlink_to(tmp_path / "x.safetensors")
    with pytest.raises(CorruptError, match="is not a weights file"):
        open_safetensors(folder)


def test_links_within_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    save_file({"a": torch.ones(1)}, blobs / "0123")
    (snapshot / "model.safetensors").symlink_to(Path("../../blobs/0123"))
    assert open_safetensors(snapshot).read("a").tolist() == [1]


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ({"a": "gone.safetensors"}, "missing"),
        ({"a": "x.safetensors", "b": "x.safetensors"}, "has no tensor 'b'"),
        ({"a": 3}, "no index"),
        ([], "no index"),
        (None, "no index"),
    ],
)
def test_an_index_that_is_wrong_says_what(tmp_path: Path, places: Any, message: str) -> None:
    with pytest.raises(CorruptError, match=message):
        open_safetensors(sharded(tmp_path / "model", places))


@pytest.mark.parametrize("text", [b"", b"[1]", b"{}", b"\xff", b'{"weight_map":' * 100_000, b"[" * 100_000])
def test_an_index_that_is_no_index(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(text)
    with pytest.raises(CorruptError, match="no index"):
        open_safetensors(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt"])
def test_pickles_are_refused_unopened(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / name)
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(UsageError, match="pickle") as caught:
            open_safetensors(path)
        assert "safetensors" in caught.value.fix


def test_nothing_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "gone.safetensors"):
        with pytest.raises(NotFoundError):
            open_safetensors(path)


CHILD = """
import re, resource, sys, torch
from pathlib import Path
from seedbed.formats.safetensors.shards import open_safetensors
def peak(): return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
opened = open_safetensors(Path(sys.argv[1]))
target = {name: torch.empty(opened.shape(name), dtype=getattr(torch, sys.argv[2])) for name in opened.names()}
for name, tensor in target.items():
    tensor.copy_(opened.read(name))
print(peak() - before)
"""


def test_loading_takes_the_target_and_one_tensor(tmp_path: Path) -> None:
    """64 MB in bfloat16 become 128 MB in float32; the file's own pages, another 64 MB, do not stay."""
    each = 4 * 2**20
    write_safetensors(
        tmp_path, ((f"t{i}", torch.full((each // 2,), i, dtype=torch.bfloat16)) for i in range(16)), shard_bytes=2**25
    )
    command = [sys.executable, "-c", CHILD, str(tmp_path), "float32"]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 32 * each <= taken < 32 * each + 2 * each + 8 * 2**20


LIMITED = """
import re, resource, sys
from pathlib import Path
from seedbed.core.errors import CorruptError
from seedbed.formats.safetensors.shards import open_safetensors
now = int(re.search(r"VmSize:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (now + 64 * 2**20, now + 64 * 2**20))
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        open_safetensors(path)
        sys.exit(f"{path} was opened")
    except CorruptError:
        pass
print("all refused")
"""


def test_hostile_headers_take_no_memory(tmp_path: Path) -> None:
    for number, case in enumerate(HOSTILE.values()):
        raw(tmp_path / f"{number}.safetensors", *case)
    command = [sys.executable, "-c", LIMITED, str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "all refused\n"
