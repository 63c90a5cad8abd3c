"""Bytes of foreign files are counted, and their type is known, before they cost time or memory."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.errors import CapacityError, DataError
from seedbed.documents import reading
from seedbed.documents.compression import is_compressed, kind_of, open_bytes
from seedbed.documents.document import Document
from seedbed.documents.formats import FORMATS
from seedbed.documents.limits import Limits
from seedbed.documents.reading import fingerprint, read

MEGABYTE = 1_000_000
BOMB = 200 * MEGABYTE
PEAK = """
import sys
from pathlib import Path
from seedbed.core.errors import CapacityError
from seedbed.documents.limits import Limits
from seedbed.documents.reading import read

def peak():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) * 1024

before = peak()
try:
    list(read(sys.argv[1], Limits(unpacked_bytes=int(sys.argv[2]))))
except CapacityError as error:
    assert "unpacked_bytes" in error.fix
    print(peak() - before)
"""


def packed(path: Path, block: bytes, times: int) -> Path:
    """Write a compressed file of the same block again and again."""
    if path.suffix == ".zst":
        one = zstandard.ZstdCompressor(level=1).compressobj()
        path.write_bytes(b"".join([*(one.compress(block) for _ in range(times)), one.flush()]))
        return path
    with gzip.open(path, "wb", 1) if path.suffix == ".gz" else lzma.open(path, "wb", preset=0) as file:
        for _ in range(times):
            file.write(block)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is asked of /proc")
@pytest.mark.parametrize("suffix", [".zst", ".gz", ".xz"])
def test_a_small_file_that_unpacks_to_much_costs_no_memory(tmp_path: Path, suffix: str) -> None:
    path = packed(tmp_path / f"a.txt{suffix}", b"a" * 10 * MEGABYTE, BOMB // (10 * MEGABYTE))
    assert path.stat().st_size < BOMB / 100
    command = [sys.executable, "-c", PEAK, str(path), str(BOMB - 1)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 64 * MEGABYTE


@pytest.mark.parametrize("suffix", [".zst", ".gz", ".xz"])
def test_frames_after_each_other_are_one_text_and_a_cut_one_is_an_error(tmp_path: Path, suffix: str) -> None:
    parts = [packed(tmp_path / f"{name}.txt{suffix}", name.encode() * 300, 1).read_bytes() for name in "abc"]
    path = tmp_path / f"all.txt{suffix}"
    padding = b"\0" * 1024 if suffix != ".zst" else b""
    path.write_bytes(parts[0] + parts[1] + padding + parts[2] + padding)
    with open_bytes(path) as stream:
        assert stream.read() == b"a" * 300 + b"b" * 300 + b"c" * 300
    for place in range(1, len(parts[0])):
        path.write_bytes(parts[0][:place])
        with pytest.raises(DataError):
            list(read(path))


@pytest.mark.parametrize("suffix", [".zst", ".xz"])
def test_a_file_that_wants_much_memory_to_be_unpacked_is_refused(tmp_path: Path, suffix: str) -> None:
    path, text = tmp_path / f"a.txt{suffix}", b"some words\n" * 100_000
    if suffix == ".zst":
        settings = zstandard.ZstdCompressionParameters(window_log=28, write_content_size=False)
        one = zstandard.ZstdCompressor(compression_params=settings).compressobj()
        path.write_bytes(one.compress(text) + one.flush())
    else:
        filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
        path.write_bytes(lzma.compress(text, filters=filters))
    with pytest.raises(DataError) as caught:
        list(read(path))
    assert "usual settings" in caught.value.fix


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("name", "knob"),
    [("a.txt", "text_bytes"), ("a.pdf", "file_bytes"), ("a.HTML", "file_bytes"), ("a.txt.gz", "unpacked_bytes")],
)
def test_a_hole_of_a_terabyte_is_refused_before_it_is_hashed(tmp_path: Path, name: str, knob: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"words\n" * 200_000)
    with path.open("ab") as file:
        file.truncate(10**12)  # sparse: takes no room
    with pytest.raises(CapacityError) as caught:
        fingerprint(path, str(path), Limits())
    assert knob in caught.value.fix


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", ["film.mp4", "a.txt", "a.csv", "a.jsonl"])
def test_what_is_no_text_is_refused_before_it_is_hashed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with path.open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(DataError, match="cannot be read"):
        fingerprint(path, str(path), Limits(text_bytes=10**13))


@pytest.mark.skipif(sys.platform != "linux", reason="files of /proc have no size")
def test_a_file_that_states_no_size_is_counted() -> None:
    path = Path("/proc/self/smaps")
    assert path.stat().st_size == 0
    with pytest.raises(CapacityError, match="too large"):
        fingerprint(path, str(path), Limits(text_bytes=100))


SPELLINGS = st.tuples(
    st.sampled_from(sorted(FORMATS)),
    st.sampled_from(["", ".gz", ".xz", ".zst"]),
    st.lists(st.booleans(), min_size=12, max_size=12),
    st.booleans(),
    st.sampled_from(["", ".", " ", ". .", "\u200b", "\xa0"]),
)


@given(SPELLINGS)
def test_a_suffix_is_known_however_it_is_spelled(spelling: tuple[str, str, list[bool], bool, str]) -> None:
    kind, packing, large, wide, end = spelling
    written = "".join(one.upper() if big else one for one, big in zip(kind + packing, large * 2, strict=False))
    wider = "".join(chr(ord(one) + 0xFEE0) if one.isalnum() else one for one in written)
    path = Path(f"a.b{wider if wide else written}{end}")
    assert (kind_of(path), is_compressed(path)) == (kind, bool(packing))


@pytest.mark.parametrize("name", ["a.Pdf", "a.PDF.", "a.ｐｄｆ", "a.pdf ", "a.DOCX", "a.XLSX.GZ", "a.Epub\u200b"])
def test_no_spelling_keeps_a_container_out_of_its_own_process(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(reading, "read_isolated", lambda name, *_: iter([Document(asked.append(name) or "a", "text")]))
    data = b"PK\x03\x04 or what it says"
    (tmp_path / name).write_bytes(gzip.compress(data) if "GZ" in name else data)
    assert [one.text for one in read(tmp_path / name)] == ["text"]
    assert len(asked) == 1
