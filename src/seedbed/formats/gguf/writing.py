"""Writing GGUF through the ``gguf`` package, tensor by tensor.

The header, which needs every tensor's shape, stands before the data; so the data are written aside first and copied
behind it. Quantized types keep what llama.cpp keeps in full precision: norms, biases, position tables, routers.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, get_args

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType, LlamaFileType, quants
from torch import Tensor

from seedbed.core import files
from seedbed.core.errors import UsageError
from seedbed.formats.published_forms import GgufPrecision

_FULL = ("_norm.weight", "position_embd.weight", "token_types.weight", "ffn_gate_inp.weight")
"""Ends of names of matrices and vectors that stay in float32."""
_FINER = ("token_embd.weight", "output.weight")
"""Tensors that q4_0 keeps in q8_0: four bits on the embeddings cost more quality than they save room."""
_AT_ONCE = 2**20
_COPY = 16 * 2**20


def write_gguf(
    path: Path, metadata: Mapping[str, Any], tensors: Iterable[tuple[str, Tensor]], quantization: GgufPrecision = "f16"
) -> None:
    """Write a GGUF file; the old file is kept until the new one is whole.

    Args:
        metadata: values by key: text, numbers, booleans, and lists of one of them (empty lists are left out). Whole
            numbers become uint32 where they fit, as llama.cpp wants them, and int32 in lists. Must have
            "general.architecture".
        tensors: GGUF's names with tensors (outermost axis first); one at a time is held in memory.
        quantization: of matrices; rows that are no multiple of 32 become f16 in place of q8_0 and q4_0.

    Raises:
        UsageError: an unknown quantization, or a weight too large for float16.
        CapacityError: the disk is full.
    """
    if quantization not in get_args(GgufPrecision):
        raise UsageError(
            f"there is no GGUF export to {quantization!r}",
            why="the gguf package writes only some of the types it reads",
            fix=f"choose one of {', '.join(get_args(GgufPrecision))}",
        )
    with files.scratch_directory(path) as folder:
        data, whole = folder / "data", folder / "whole"
        writer = gguf.GGUFWriter(str(whole), str(metadata["general.architecture"]))
        with data.open("wb") as file:
            for name, tensor in tensors:
                shape = tuple(tensor.shape) or (1,)
                kind = tensor_type(name, shape, quantization)
                size = _write_data(file, tensor.detach().cpu().reshape(-1, shape[-1]), kind)
                raw = gguf.quant_shape_to_byte_shape(shape, kind)
                writer.add_tensor_info(name, raw, np.dtype(np.uint8), size, kind)
        _write_header(writer, metadata, quantization)
        with whole.open("ab") as out, data.open("rb") as file:
            out.write(bytes(-out.tell() % gguf.GGUF_DEFAULT_ALIGNMENT))
            shutil.copyfileobj(file, out, _COPY)
            out.flush()
            os.fsync(out.fileno())
        files.open_to_others(whole)
        whole.replace(path)


def tensor_type(name: str, shape: tuple[int, ...], quantization: GgufPrecision) -> GGMLQuantizationType:
    """Return the type that a tensor is written in."""
    if len(shape) < 2 or name.endswith(_FULL) or quantization == "f32":
        return GGMLQuantizationType.F32
    if quantization in ("q8_0", "q4_0") and shape[-1] % 32:
        return GGMLQuantizationType.F16
    if quantization == "q4_0" and name in _FINER:
        return GGMLQuantizationType.Q8_0
    return GGMLQuantizationType[quantization.upper()]


def _write_data(file: BinaryIO, rows: Tensor, kind: GGMLQuantizationType) -> int:
    """Append a tensor's data and the padding after them; return their size without it."""
    size, step = 0, max(1, _AT_ONCE // max(1, rows.shape[1]))
    for first in range(0, len(rows), step):
        size += file.write(_convert(rows[first : first + step], kind).data)
    file.write(bytes(-size % gguf.GGUF_DEFAULT_ALIGNMENT))
    return size


def _convert(rows: Tensor, kind: GGMLQuantizationType) -> np.ndarray:
    if kind is GGMLQuantizationType.BF16:
        return rows.to(torch.bfloat16).contiguous().view(torch.uint8).numpy()
    if kind is GGMLQuantizationType.F16:
        half = rows.to(torch.float16).contiguous()
        if half.isinf().any() and not rows.isinf().any():
            raise UsageError(
                "the model does not fit float16",
                why=f"it has a weight of {rows.abs().max().item():.3g}, float16 ends at 65504",
                fix="export it as bf16 or f32",
            )
        return half.view(torch.uint8).numpy()
    exact: np.ndarray = rows.to(torch.float32).contiguous().numpy()
    return np.ascontiguousarray(quants.quantize(exact, kind)).view(np.uint8)


def _write_header(writer: gguf.GGUFWriter, metadata: Mapping[str, Any], quantization: str) -> None:
    try:
        for key, value in metadata.items():
            _add_value(writer, key, value)
        writer.add_file_type(LlamaFileType[f"{'ALL' if quantization == 'f32' else 'MOSTLY'}_{quantization.upper()}"])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
    finally:
        writer.close()


def _add_value(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """Add one metadata entry with the type that llama.cpp expects of it."""
    kinds = gguf.GGUFValueType
    if key == "general.architecture":  # the writer has put it in already
        return
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, int):
        writer.add_key_value(key, value, kinds.UINT32 if 0 <= value < 2**32 else kinds.INT64)
    elif len(value):
        writer.add_array(key, value)
