"""Memory-mapped files: tensors take no memory before they are used.

Loading needs no second copy: a tensor in the wanted precision is used as it lies, and one that is converted leaves
memory when it is dropped, so that a model takes its own size plus one tensor. Every tensor has a mapping of its own,
since only then can its pages go with it; Python's ``mmap`` holds an open file for each, of which a process may have
about a thousand, so the operating system is called directly. Writes to a tensor stay in this process and never reach
the file. A file that another program cuts while a tensor of it is in use ends the process, as with every mapping; what
can be checked, the file's length, is checked before each mapping.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seedbed.core.errors import CorruptError

_SMALL = 2**16  # bytes below which a copy is cheaper than a mapping, of which a process may have about 65,000
_READ_WRITE, _PRIVATE = 3, 2  # PROT_READ | PROT_WRITE and MAP_PRIVATE, the same on Linux and macOS


class MappedFile:
    """The bytes of one open file. Raises OSError where the operating system cannot open it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)
        self.size = os.fstat(self._descriptor).st_size

    def bytes(self, start: int, stop: int) -> bytes:
        """Return a copy of bytes ``start … stop - 1``; fewer where the file ends."""
        return os.pread(self._descriptor, stop - start, start)

    def tensor(self, start: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Map a contiguous tensor that begins at byte ``start``; raises CorruptError where some of it is gone."""
        data = self.array(start, math.prod(shape) * dtype.itemsize)
        if not data.size:
            return torch.empty(shape, dtype=dtype)
        if data.ctypes.data % dtype.itemsize:  # it lies badly for the processor
            data = data.copy()
        return torch.frombuffer(data, dtype=dtype).view(shape)

    def array(self, start: int, length: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        """Return bytes ``start … start + length - 1``, mapped unless few; raises CorruptError where some are gone."""
        now = os.fstat(self._descriptor).st_size
        if start + length > now:
            raise CorruptError(
                f"{self.path} ends early",
                why=f"it has {now} bytes, a tensor needs bytes {start} to {start + length}",
                fix="fetch or copy the file again",
            )
        whole: Any = self._map(start, length) if length >= _SMALL else None
        return np.frombuffer(whole if whole is not None else bytearray(self.bytes(start, start + length)), np.uint8)

    def _map(self, start: int, length: int) -> ctypes.Array[ctypes.c_ubyte] | None:
        """Map bytes for as long as the returned array lives; return None where there is no such call."""
        if _libc is None:
            return None
        before = start % mmap.ALLOCATIONGRANULARITY
        size = before + length
        address = _libc.mmap(None, size, _READ_WRITE, _PRIVATE, self._descriptor, start - before)
        if address == ctypes.c_void_p(-1).value:
            return None
        if hasattr(os, "posix_fadvise"):  # read ahead: faults alone would ask a slow disk for a little at a time
            os.posix_fadvise(self._descriptor, start, length, os.POSIX_FADV_WILLNEED)
        mapped = (ctypes.c_ubyte * length).from_address(address + before)
        weakref.finalize(mapped, _libc.munmap, address, size).atexit = False
        return mapped


def _load_libc() -> ctypes.CDLL | None:
    if os.name != "posix" or ctypes.sizeof(ctypes.c_void_p) < 8:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_int64]
    libc.mmap.restype = ctypes.c_void_p
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc


_libc = _load_libc()
