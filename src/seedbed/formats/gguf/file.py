"""GGUF files as checkpoints: tensors under GGUF's own names, dequantized one at a time.

The names and llama.cpp's changes to the numbers are in ``tensor_names.py``.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from torch import Tensor

from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.core.library_errors import library_errors
from seedbed.formats.gguf.header import read_header
from seedbed.formats.mapped_file import MappedFile
from seedbed.formats.safetensors.file import DTYPES

_PLAIN = {GGMLQuantizationType[name]: DTYPES[name] for name in ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8")}
_AT_ONCE = 2**18  # weights dequantized at a time: the package's arithmetic takes several times their size meanwhile


class GgufFile:
    """An open GGUF file; a :class:`~seedbed.models.checkpoint.Checkpoint`."""

    def __init__(self, path: Path) -> None:
        self.origin = str(path)
        self._file = MappedFile(path)
        self.metadata, self._tensors = read_header(self._file)

    def names(self) -> Sequence[str]:
        """Return the names of all tensors, in the file's order."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, outermost axis first."""
        return self._tensors[name].shape

    def kind(self, name: str) -> str:
        """Return GGUF's name of the tensor's type: "F16", "Q4_K" …"""
        return self._tensors[name].kind.name

    def dtype(self, name: str) -> torch.dtype:
        """Return the precision that :meth:`read` gives: the file's, or float32 for quantized tensors."""
        return _PLAIN.get(self._tensors[name].kind, torch.float32)

    def read(self, name: str) -> Tensor:
        """Read one tensor: a view of the file, or float32 numbers made of quantized ones.

        Raises:
            CorruptError: the file was cut since it was opened.
            UsageError: the ``gguf`` package cannot dequantize this type.
        """
        info = self._tensors[name]
        if info.kind in _PLAIN:
            return self._file.tensor(info.start, info.shape, _PLAIN[info.kind])
        out = _room(info.shape)
        blocks = self._file.array(info.start, info.size).reshape(-1, GGML_QUANT_SIZES[info.kind][1])
        weights = out.view(-1, GGML_QUANT_SIZES[info.kind][0]).numpy()
        step = _AT_ONCE // weights.shape[1]
        for first in range(0, len(blocks), step):
            weights[first : first + step] = self._dequantize(name, blocks[first : first + step])
        return out

    def _dequantize(self, name: str, blocks: np.ndarray) -> np.ndarray:
        kind = self._tensors[name].kind
        try:
            with np.errstate(all="ignore"):  # a damaged scale may be infinite
                row = blocks.reshape(1, -1)  # the package's loop takes 16 rows at a time, however short they are
                return quants.dequantize(row, kind).reshape(len(blocks), -1)
        except NotImplementedError as error:
            raise UsageError(
                f"tensor {name!r} of {self.origin} cannot be read",
                why=f"the gguf package does not dequantize {kind.name}",
                fix="take the model as F16, BF16, Q8_0, Q6_K, Q5_K, Q4_K or Q4_0",
            ) from error


def _room(shape: tuple[int, ...]) -> Tensor:
    """Allocate a float32 tensor to be filled.

    Large ones are mappings of their own, which leave memory when they are dropped; the allocator would keep holes
    between what is made of them, together as large as half of a model.
    """
    size = 4 * math.prod(shape)
    if size < _AT_ONCE:
        return torch.empty(shape, dtype=torch.float32)
    return torch.frombuffer(mmap.mmap(-1, size), dtype=torch.float32).view(shape)


def is_gguf(path: Path) -> bool:
    """Return whether a file is a GGUF file: by its first bytes (ollama's have no suffix), else by its name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"GGUF" or path.suffix.lower() == ".gguf"


def open_gguf(path: Path) -> GgufFile:
    """Open a GGUF file. Reads its header only, and decodes metadata when they are asked for.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it is no GGUF file, or of a version or byte order that is not read.
        CorruptError: its header is wrong, or it ends early.
    """
    fix = "fetch or copy it again"
    with library_errors(lambda why: CorruptError(f"{path} cannot be read", why=why, fix=fix)):
        try:
            return GgufFile(path)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no file {path}", why="no such file", fix="check the path") from error
