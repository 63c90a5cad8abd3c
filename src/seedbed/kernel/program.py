"""Programs for the kernel: operations on row buffers, as C structures that point into tensors.

The structures mirror ``source/layout.h``, whose comment says which fields each kind of operation reads: field order and
types change in both places together (a test compares every field by its name).
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

import torch
from torch import Tensor

from seedbed.kernel.library import library
from seedbed.kernel.packed import TILE, Packed

VECTORS = 8  # query vectors that share a pass over keys and values: rows of scores a thread needs
PAGE = 64  # positions of a cache page
PART, ROWS = 512, 510  # inputs of a part of the weights, and rows whose sums wait between parts


class Kind(IntEnum):
    """Operations, in the order of ``enum Kind``."""

    EMBED, NORM, LINEAR, STORE, ATTEND, ACTIVATE, PICK, BEST, ADAPT, SCALE, ROUTE, GATHER, SCATTER = range(13)


class Flag(IntFlag):
    """``enum Flag``."""

    NO_BARRIER, REUSE_INPUT, ADD, LAYER_NORM, GATED, RENORMALIZE, BFLOAT16 = 1, 2, 4, 8, 16, 32, 64


ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "gelu_quick", "relu", "relu2", "tanh")  # as ``enum Activation``


def _fields(integers: str, floats: str = "", pointers: str = "") -> list[tuple[str, Any]]:
    kinds = ((integers, ctypes.c_int32), (floats, ctypes.c_float), (pointers, ctypes.c_void_p))
    return [(name, kind) for names, kind in kinds for name in names.split()]


class AdapterStruct(ctypes.Structure):
    """``struct Adapter``."""

    _fields_ = [*_fields("", "", "down up"), ("rank", ctypes.c_int32), ("scale", ctypes.c_float)]


class RoutesStruct(ctypes.Structure):
    """``struct Routes``: the experts of each row."""

    _fields_ = [*_fields("", "", "count chosen row weight share"), ("rows", ctypes.c_int64)]


class Op(ctypes.Structure):
    """``struct Op``; ``source/layout.h`` has the table of the fields that each kind reads."""

    _fields_ = _fields(
        "kind flags bits group n k in_stride out_stride heads kv_heads rotated window layer activation expert skip",
        "eps factor cap",
        "weight scale bias source target extra extra2 extra3 extra4 routes adapters",
    )


class SequenceSegment(ctypes.Structure):
    """``struct Segment``: consecutive positions of one sequence."""

    _fields_ = _fields("row rows start reserved", "", "pages")


class BatchStruct(ctypes.Structure):
    """``struct Batch``."""

    _fields_ = [
        *_fields("rows segments picks threads", "", "token position turn pick adapter segment_of segment pool"),
        ("page_floats", ctypes.c_int64),
        *_fields("", "", "quants scales sums scratch"),
        ("scratch_floats", ctypes.c_int64),
        ("score_floats", ctypes.c_int64),
        *_fields("", "", "best logsumexp"),
    ]


@dataclass
class Program:
    """A list of operations. ``kept`` holds the tensors and structures that they point into."""

    operations: list[Op] = field(default_factory=list)
    kept: list[Any] = field(default_factory=list)
    compiled: Any = None

    def add(self, kind: Kind, flags: int = 0, **fields: Any) -> Op:
        """Append an operation; tensors among the fields become pointers."""
        operation = Op(kind=kind, flags=int(flags))
        for name, value in fields.items():
            setattr(operation, name, self.pointer(value) if isinstance(value, Tensor) else value)
        self.operations.append(operation)
        return operation

    def add_linear(self, packed: Packed, flags: int = 0, **fields: Any) -> Op:
        """Append ``target = source W^T + bias``."""
        return self.add(Kind.LINEAR, flags, n=packed.n, k=packed.k, **self.matrix(packed), **fields)

    def matrix(self, packed: Packed) -> dict[str, Any]:
        """Return the fields of an operation that describe a packed matrix."""
        scale = self.pointer(packed.scale) if packed.scale is not None else None
        return {"bits": packed.bits, "group": packed.group, "weight": self.pointer(packed.data), "scale": scale}

    def pointer(self, tensor: Tensor) -> int:
        """Return the address of a tensor that lives as long as the program."""
        if not tensor.is_contiguous():
            raise ValueError("the kernel reads contiguous tensors only")
        self.kept.append(tensor)
        return tensor.data_ptr()

    def structure(self, struct: ctypes.Array[Any] | ctypes.Structure) -> int:
        """Return the address of a structure that lives as long as the program."""
        self.kept.append(struct)
        return ctypes.addressof(struct)

    def run(self, batch: BatchStruct) -> None:
        """Execute on a batch."""
        kernel = library()
        if kernel is None:
            raise RuntimeError("there is no kernel to run a program")
        if self.compiled is None:
            self.compiled = (Op * len(self.operations))(*self.operations)
        kernel.seedbed_run(self.compiled, len(self.operations), ctypes.byref(batch))


def give_scratch(batch: BatchStruct, matrices: Sequence[Packed], rows: int, score_floats: int) -> tuple[Tensor, ...]:
    """Allocate a batch's working memory for up to ``rows`` rows through these matrices, and point the batch at it.

    Returns the memory, to be kept as long as the batch: quantized activations, and scores and unpacked tiles a thread.
    """
    quantized = [packed for packed in matrices if packed.scheme is not None]
    groups = max((-(-packed.k // packed.group) for packed in quantized), default=0)
    width = max((-(-packed.k // packed.group) * packed.group for packed in quantized), default=0)
    floats = max((packed.k for packed in matrices if packed.scheme is None), default=0)
    widest = max((packed.group for packed in quantized), default=0)
    sums = 2 * TILE * (ROWS + max(PART, widest) // 4)  # of all rows, and a part of two int4 tiles as int8
    quants = torch.empty(max(rows * width, 4 * rows * floats), dtype=torch.int8)
    scales, totals = torch.empty(rows * groups), torch.empty(rows * groups, dtype=torch.int32)
    threads = torch.empty(torch.get_num_threads(), max(score_floats, sums))
    batch.quants, batch.scales, batch.sums = quants.data_ptr(), scales.data_ptr(), totals.data_ptr()
    batch.scratch, batch.threads, batch.scratch_floats = threads.data_ptr(), *threads.shape
    batch.score_floats = score_floats
    return quants, scales, totals, threads


def linear(packed: Packed, x: Tensor, bias: Tensor | None) -> Tensor | None:
    """Compute ``x W^T + bias``, (…, k) → (…, n), with a compiled kernel in float32 on a CPU; None elsewhere."""
    if library() is None or x.device.type != "cpu" or x.dtype != torch.float32:
        return None
    rows = x.reshape(-1, packed.k).contiguous()
    y = x.new_empty(rows.shape[0], packed.n)
    program = Program()
    program.add_linear(packed, source=rows, target=y, in_stride=packed.k, out_stride=packed.n, bias=bias)
    batch = BatchStruct(rows=rows.shape[0])
    memory = give_scratch(batch, [packed], rows.shape[0], 0)
    program.run(batch)
    del memory
    return y.view(*x.shape[:-1], packed.n)


def table(packed: Packed, dtype: torch.dtype = torch.float32) -> Tensor | None:
    """Return a packed matrix (n, k) as floats, made with a compiled kernel on a CPU; None elsewhere.

    Args:
        dtype: float32, or bfloat16 (each number rounded once, to the nearest).
    """
    if library() is None or packed.data.device.type != "cpu":
        return None
    rows, y = torch.arange(packed.n, dtype=torch.int32), torch.empty(packed.n, packed.k, dtype=dtype)
    flags = Flag.BFLOAT16 if dtype == torch.bfloat16 else 0
    program = Program()
    program.add(Kind.EMBED, flags, n=0, k=packed.k, factor=1.0, target=y, out_stride=packed.k, **program.matrix(packed))
    program.run(BatchStruct(rows=packed.n, token=rows.data_ptr(), threads=torch.get_num_threads()))
    return y
