"""One safetensors file, read through a mapping.

The header is checked by the ``safetensors`` library (its length against the file and 100 MB, JSON and its nesting,
types, sizes against shapes, overflow, gaps and overlaps). Added here: two entries of one name, which it lets pass.
"""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from seedbed.core import files
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.core.library_errors import library_errors
from seedbed.formats.mapped_file import MappedFile

DTYPES: Mapping[str, torch.dtype] = {  # the format's names of element types, those that PyTorch has too
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


@dataclass(frozen=True)
class TensorEntry:
    """The place of one tensor: type name, shape, first byte in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int


class SafetensorsFile:
    """One file as a checkpoint."""

    def __init__(self, path: Path) -> None:
        self.origin = str(path)
        self._entries = _read_header(path)
        self._file = MappedFile(path)

    def names(self) -> Sequence[str]:
        """Return the names of all tensors, in the order of their bytes."""
        return list(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, outermost axis first."""
        return self._entries[name].shape

    def dtype(self, name: str) -> torch.dtype:
        """Return the file's precision; raises UsageError where PyTorch has no such type."""
        kind = self._entries[name].dtype
        if kind not in DTYPES:
            raise UsageError(
                f"tensor {name!r} of {self.origin} cannot be read",
                why=f"its type {kind} is one that PyTorch does not compute with",
                fix="take a release of this model in bfloat16, float16 or float32",
            )
        return DTYPES[kind]

    def read(self, name: str) -> Tensor:
        """Read one tensor as a view of the file: memory is taken when it is used, and given back with it.

        Raises CorruptError where the file was cut since it was opened, and as :meth:`dtype`.
        """
        entry = self._entries[name]
        return self._file.tensor(entry.start, entry.shape, self.dtype(name))


def open_file(path: Path) -> SafetensorsFile:
    """Open one file by its header.

    Raises:
        NotFoundError: there is no such file. CorruptError: the header is wrong, or the file ends early.
    """
    with library_errors(lambda why: _damaged(path, why)):
        try:
            return SafetensorsFile(path)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no file {path}", why="no such file", fix="check the path") from error


def _damaged(path: Path, why: str) -> CorruptError:
    why, fix = files.mistaken(path) or (_reason(path, why), "fetch or copy it again")
    return CorruptError(f"{path} cannot be read", why=why, fix=fix)


def _read_header(path: Path) -> dict[str, TensorEntry]:
    """Read names, types, shapes and places, after the library has checked them."""
    with safe_open(path, "numpy"):
        pass
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        pairs = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=list)
    name, times = Counter(name for name, _ in pairs).most_common(1)[0] if pairs else ("", 1)
    if times > 1:
        raise ValueError(f"the header has {name!r} twice")
    described = {name: dict(entry) for name, entry in pairs if name != "__metadata__"}
    for name, entry in described.items():  # the library lets any lengths pass beside a length of 0
        if math.prod(max(1, size) for size in entry["shape"]) >= 2**62:
            raise ValueError(f"the shape of {name!r} overflows")
    begin = 8 + length
    entries = {
        name: TensorEntry(entry["dtype"], tuple(entry["shape"]), begin + entry["data_offsets"][0])
        for name, entry in described.items()
    }
    return dict(sorted(entries.items(), key=lambda pair: pair[1].start))


def _reason(path: Path, text: str) -> str:
    """Return the library's message; where the file has other bytes than its header says, that it ends early too."""
    short = any(sign in text for sign in ("not fully covered", "header length", "header too small"))
    return (
        f"{text}; it has {path.stat().st_size} bytes: the download or copy ended early, or went on" if short else text
    )
