"""GGUF in and out, against the ``gguf`` package's own writer, reader and arithmetic; hostile headers."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from file_limits import file_size_limit
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFReader, GGUFWriter, quants

from seedbed.core.errors import CapacityError, CorruptError, NotFoundError, UsageError
from seedbed.formats.gguf.file import open_gguf
from seedbed.formats.gguf.writing import write_gguf

METADATA: dict[str, Any] = {
    "general.architecture": "llama",
    "general.name": "Tiny — ✓",
    "llama.block_count": 2,
    "llama.rope.freq_base": 10000.5,
    "negative": -3,
    "large": 2**40,
    "yes": True,
    "tokenizer.ggml.tokens": ["<s>", "ä", "▁the", ""],
    "tokenizer.ggml.scores": [0.0, -1.5, 2.0, 3.0],
    "tokenizer.ggml.token_type": [3, 1, 1, -1],
    "flags": [True, False],
}
QUANTIZED = [Kind.Q4_0, Kind.Q4_1, Kind.Q5_0, Kind.Q5_1, Kind.Q8_0]
BLOCKS = [Kind.Q2_K, Kind.Q3_K, Kind.Q4_K, Kind.Q5_K, Kind.Q6_K, Kind.IQ4_NL, Kind.IQ4_XS]
"""What the package dequantizes but does not quantize: any bytes are a valid tensor of these."""


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


def written_by_the_package(path: Path) -> dict[str, np.ndarray]:
    """A file of the ``gguf`` package with a tensor of every type; returns what it dequantizes them to."""
    writer, expected = GGUFWriter(str(path), "llama"), {}
    writer.add_uint32("llama.block_count", 2)
    writer.add_token_list(METADATA["tokenizer.ggml.tokens"])
    writer.add_token_scores(METADATA["tokenizer.ggml.scores"])
    writer.add_array("flags", [True, False])
    writer.add_uint8("u8", 200)
    writer.add_int8("i8", -100)
    writer.add_uint16("u16", 60000)
    writer.add_int16("i16", -30000)
    writer.add_uint64("u64", 2**60)
    writer.add_int64("i64", -(2**60))
    writer.add_float64("f64", 1 / 3)
    plain = {"f32": weights(3, 5), "f16": weights(4, 7).astype(np.float16), "f64": weights(2, 2).astype(np.float64)}
    for name, array in {**plain, "i32": np.arange(6, dtype=np.int32), "four": weights(2, 3, 4, 5)}.items():
        writer.add_tensor(name, array)
        expected[name] = array
    for kind in QUANTIZED:
        data = quants.quantize(weights(6, 64), kind)
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        expected[kind.name] = quants.dequantize(data, kind)
    data = quants.quantize(weights(5, 3), Kind.BF16)
    writer.add_tensor("bf16", data, raw_dtype=Kind.BF16)
    expected["bf16"] = quants.dequantize(data, Kind.BF16)
    for kind in BLOCKS:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        data = np.random.default_rng(1).integers(0, 60, (3, 2 * size), dtype=np.uint8)  # so, all scales are finite
        writer.add_tensor(kind.name, data, raw_dtype=kind)
        expected[kind.name] = quants.dequantize(data, kind)
        assert expected[kind.name].shape == (3, 2 * block)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def test_files_of_the_gguf_package_open_here(tmp_path: Path) -> None:
    expected = written_by_the_package(tmp_path / "x.gguf")
    opened = open_gguf(tmp_path / "x.gguf")
    assert list(opened.names()) == list(expected)
    for name, array in expected.items():
        tensor = opened.read(name)
        assert tuple(tensor.shape) == opened.shape(name) == array.shape
        assert tensor.dtype == opened.dtype(name)
        assert tensor.is_contiguous()
        found = tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
        np.testing.assert_array_equal(found, array, err_msg=name)
    assert opened.kind("Q4_K") == "Q4_K"
    metadata = opened.metadata
    assert {key: metadata[key] for key in ("u8", "i8", "u16", "i16", "u64", "i64")} == {
        "u8": 200,
        "i8": -100,
        "u16": 60000,
        "i16": -30000,
        "u64": 2**60,
        "i64": -(2**60),
    }
    assert (metadata["f64"], metadata["flags"], metadata["llama.block_count"]) == (1 / 3, [True, False], 2)
    assert metadata["tokenizer.ggml.tokens"] == METADATA["tokenizer.ggml.tokens"]
    assert metadata["tokenizer.ggml.scores"] == METADATA["tokenizer.ggml.scores"]


def test_large_tensors_are_dequantized_in_parts_that_agree(tmp_path: Path) -> None:
    array = weights(1030, 2048)
    write_gguf(tmp_path / "x.gguf", METADATA, [("w.weight", torch.from_numpy(array))], "q4_0")
    expected = quants.dequantize(quants.quantize(array, Kind.Q4_0), Kind.Q4_0)
    np.testing.assert_array_equal(open_gguf(tmp_path / "x.gguf").read("w.weight").numpy(), expected)


TENSORS = {
    "token_embd.weight": weights(10, 64),
    "blk.0.attn_q.weight": weights(6, 64),
    "blk.0.attn_q.bias": weights(6),
    "blk.0.attn_norm.weight": weights(64),
    "blk.0.ffn_gate_inp.weight": weights(4, 64),
    "blk.0.ffn_up_exps.weight": weights(3, 2, 64),
    "odd.weight": weights(5, 33),
    "output.weight": weights(10, 64),
}
KINDS = {
    "f32": [Kind.F32] * 8,
    "f16": [Kind.F16, Kind.F16, Kind.F32, Kind.F32, Kind.F32, Kind.F16, Kind.F16, Kind.F16],
    "bf16": [Kind.BF16, Kind.BF16, Kind.F32, Kind.F32, Kind.F32, Kind.BF16, Kind.BF16, Kind.BF16],
    "q8_0": [Kind.Q8_0, Kind.Q8_0, Kind.F32, Kind.F32, Kind.F32, Kind.Q8_0, Kind.F16, Kind.Q8_0],
    "q4_0": [Kind.Q8_0, Kind.Q4_0, Kind.F32, Kind.F32, Kind.F32, Kind.Q4_0, Kind.F16, Kind.Q8_0],
}


@pytest.mark.parametrize("quantization", list(KINDS))
def test_files_written_here_open_with_the_gguf_package(tmp_path: Path, quantization: Any) -> None:
    path = tmp_path / "x.gguf"
    write_gguf(path, METADATA, ((name, torch.from_numpy(array)) for name, array in TENSORS.items()), quantization)
    reader, opened = GGUFReader(path), open_gguf(path)
    assert [(tensor.name, tensor.tensor_type) for tensor in reader.tensors] == list(
        zip(TENSORS, KINDS[quantization], strict=True)
    )
    for tensor in reader.tensors:
        array = TENSORS[tensor.name]
        assert tuple(int(size) for size in tensor.shape[::-1]) == array.shape
        expected = quants.dequantize(quants.quantize(array, tensor.tensor_type), tensor.tensor_type)
        np.testing.assert_array_equal(
            quants.dequantize(tensor.data.view(np.uint8), tensor.tensor_type).reshape(array.shape), expected
        )
        np.testing.assert_array_equal(opened.read(tensor.name).float().numpy(), expected)
    for key, value in METADATA.items():
        assert reader.fields[key].contents() == value == opened.metadata[key]
    assert reader.fields["llama.block_count"].types == [gguf.GGUFValueType.UINT32]
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType[FILE_TYPES[quantization]]
    assert [file.name for file in tmp_path.iterdir()] == ["x.gguf"]


FILE_TYPES = {"f32": "ALL_F32", **{name: f"MOSTLY_{name.upper()}" for name in ("f16", "bf16", "q8_0", "q4_0")}}


def test_a_failed_export_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"old")

    def broken() -> Any:
        yield "a", torch.zeros(3)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_gguf(path, METADATA, broken())
    with pytest.raises(UsageError, match="q9"):
        write_gguf(path, METADATA, [], "q9")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.gguf"]


def test_a_weight_too_large_for_float16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="float16") as caught:
        write_gguf(tmp_path / "x.gguf", METADATA, [("a", torch.tensor([[1.0, 7e4]]))], "f16")
    assert "7e+04" in caught.value.why
    write_gguf(tmp_path / "x.gguf", METADATA, [("a", torch.tensor([[1.0, 7e4]]))], "bf16")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    write_gguf(path, METADATA, [("a", torch.ones(2, 32))], "f32")
    with file_size_limit(100_000), pytest.raises(CapacityError):
        write_gguf(path, METADATA, [("a", torch.zeros(1000, 1000))], "f32")
    assert open_gguf(path).read("a").sum() == 64
    assert [file.name for file in tmp_path.iterdir()] == ["x.gguf"]


CHILD = """
import re, sys, torch
from pathlib import Path
from seedbed.formats.gguf.file import open_gguf
def peak(): return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
opened = open_gguf(Path(sys.argv[1]))
opened.read("first").half()  # what the first use of a library takes
before = peak()
target = {name: opened.read(name).half() for name in opened.names()}
print(peak() - before)
"""


def test_dequantizing_takes_the_target_and_one_tensor(tmp_path: Path) -> None:
    """32 MB in float16, of tensors that are 4 MB each while they are float32; all at once would be 64 MB more."""
    tensors = [("first", torch.ones(8, 32)), *((f"t{i}", torch.full((1024, 1024), float(i))) for i in range(16))]
    write_gguf(tmp_path / "x.gguf", METADATA, tensors, "q8_0")
    command = [sys.executable, "-c", CHILD, str(tmp_path / "x.gguf")]
    taken = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 30e6 < taken < 48e6


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def tensor(name: str = "a", shape: tuple[int, ...] = (2,), kind: int = 0, offset: int = 0) -> bytes:
    """One entry; 0 is F32, 2 is Q4_0."""
    axes = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + axes + struct.pack("<IQ", kind, offset)


def header(
    entries: bytes = b"",
    tensors: bytes = b"",
    *,
    kv: int = 0,
    count: int = 0,
    data: bytes = b"\0" * 64,
    version: int = 3,
) -> bytes:
    whole = b"GGUF" + struct.pack("<IQQ", version, count, kv) + entries + tensors
    return whole + b"\0" * (-len(whole) % 32) + data


U32, STRING, ARRAY = (struct.pack("<I", number) for number in (4, 8, 9))
KEY = text("key")
HUGE = 2**64 - 1
HOSTILE: dict[str, bytes] = {
    "empty after the magic": b"GGUF",
    "more tensors than there are": header(count=5),
    "2**64 - 1 tensors": header(count=HUGE),
    "2**64 - 1 entries": header(kv=HUGE),
    "a key longer than the file": header(struct.pack("<Q", 10**9), kv=1),
    "a key of 2**64 - 1 bytes": header(struct.pack("<Q", HUGE), kv=1),
    "a text longer than the file": header(KEY + STRING + struct.pack("<Q", 2**40), kv=1),
    "an array longer than the file": header(KEY + ARRAY + U32 + struct.pack("<Q", 2**20), kv=1),
    "an array of 2**63 texts": header(KEY + ARRAY + STRING + struct.pack("<Q", 2**63), kv=1),
    "an array of arrays": header(KEY + ARRAY + ARRAY + struct.pack("<Q", 1), kv=1),
    "an unknown type": header(KEY + struct.pack("<I", 99), kv=1),
    "a key twice": header((KEY + U32 + U32) * 2, kv=2),
    "a key that is not UTF-8": header(text(b"\xff\xfe") + U32 + U32, kv=1),
    "an alignment of 0": header(text("general.alignment") + U32 + struct.pack("<I", 0), kv=1),
    "an alignment of 2**31": header(text("general.alignment") + U32 + struct.pack("<I", 2**31), kv=1),
    "an alignment in words": header(text("general.alignment") + STRING + text("32"), kv=1),
    "a tensor past the end": header(tensors=tensor(shape=(2**20,)), count=1),
    "a shape that overflows": header(tensors=tensor(shape=(2**62, 2**62)), count=1),
    "a shape that wraps to 1": header(tensors=tensor(shape=(2**32, 2**32 + 1)), count=1),
    "a million axes": header(tensors=text("a") + struct.pack("<I", 10**6), count=1),
    "an unknown tensor type": header(tensors=tensor(kind=99), count=1),
    "rows that are no whole blocks": header(tensors=tensor(shape=(33,), kind=2), count=1),
    "one number that is no whole block": header(tensors=tensor(shape=(), kind=2), count=1),
    "no elements": header(tensors=tensor(shape=(2**63, 0)), count=1),
    "an offset of 2**64 - 32": header(tensors=tensor(offset=2**64 - 32), count=1),
    "an offset askew": header(tensors=tensor(offset=4), count=1),
    "two tensors in one place": header(tensors=tensor() + tensor("b"), count=2),
    "a tensor twice": header(tensors=tensor() + tensor(offset=32), count=2),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_are_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(HOSTILE[case])
    with pytest.raises(CorruptError) as caught:
        open_gguf(path)
    assert str(path) in caught.value.what
    assert caught.value.why


def test_the_cases_above_are_refused_for_what_they_change(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(header(KEY + U32 + U32, tensor() + tensor("b", offset=32), kv=1, count=2))
    opened = open_gguf(path)
    assert (opened.metadata["key"], opened.read("b").tolist()) == (4, [0, 0])


def test_a_text_that_is_not_utf_8_is_refused_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(header(KEY + STRING + text(b"\xff"), kv=1))
    with pytest.raises(CorruptError, match="UTF-8"):
        open_gguf(path).metadata["key"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"PK\3\4" + data[4:], "no GGUF file"),
        (lambda data: data[:3], "no GGUF file"),
        (lambda data: b"", "no GGUF file"),
        (lambda data: data[:4] + struct.pack("<I", 1) + data[8:], "not read"),
        (lambda data: data[:4] + struct.pack(">I", 3) + data[8:], "big-endian"),
    ],
)
def test_other_files_and_versions_are_refused(tmp_path: Path, change: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(change(header()))
    with pytest.raises(UsageError, match=message):
        open_gguf(path)


def test_version_2_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(header(tensors=tensor(), count=1, version=2))
    assert open_gguf(path).read("a").tolist() == [0, 0]


def test_a_truncated_file_says_so_wherever_it_ends(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.gguf", tmp_path / "x.gguf"
    write_gguf(whole, METADATA, [("a", torch.zeros(2, 16))], "f32")
    data = whole.read_bytes()
    for end in range(8, len(data), 7):
        path.write_bytes(data[:end])
        with pytest.raises(CorruptError, match="ends early"):
            open_gguf(path)


def test_a_file_cut_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    write_gguf(path, METADATA, [("a", torch.ones(2, 8)), ("b", torch.ones(2, 8))], "f32")
    opened = open_gguf(path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 32)
    assert opened.read("a").sum() == 16
    with pytest.raises(CorruptError, match="ends early"):
        opened.read("b")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        open_gguf(tmp_path / "gone.gguf")
    with pytest.raises(CorruptError):
        open_gguf(tmp_path)
