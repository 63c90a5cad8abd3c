"""Writing safetensors as a stream: one file, or shards with an index."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from seedbed.core import files
from seedbed.formats.safetensors.file import DTYPES

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_COPY = 16 * 2**20  # bytes copied at a time


def write_safetensors(folder: Path, tensors: Iterable[tuple[str, Tensor]], *, shard_bytes: float = 5e9) -> list[Path]:
    """Write tensors as they come, with no more than one of them in memory beside what the iterable holds.

    The format's header stands before the data and is known only after the last tensor; so a shard's data are written
    aside first and copied behind the header, which takes one more shard's size on the disk while writing.

    Args:
        folder: made if it is missing; earlier weights in it are replaced when everything is written.
        shard_bytes: a shard is closed before it grows past this; a single larger tensor has a shard of its own.

    Returns the weight files; with more than one there is ``model.safetensors.index.json`` too. Raises CapacityError
    where the disk is full; what was there is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[_Shard] = []
    try:
        with files.disk_errors(folder):
            for name, tensor in tensors:
                size = tensor.numel() * tensor.element_size()
                if not shards or (shards[-1].entries and shards[-1].size + size > shard_bytes):
                    if shards:
                        shards[-1].finish()
                    shards.append(_Shard(folder, len(shards)))
                shards[-1].add(name, tensor)
            shards = shards or [_Shard(folder, 0)]
            shards[-1].finish()
            return _put_in_place(folder, shards)
    finally:
        for shard in shards:
            shard.discard()


class _Shard:
    """One file being written: data to ``.part``, then header and data to ``.done``."""

    def __init__(self, folder: Path, number: int) -> None:
        stem = f".model-{number + 1:05d}.{os.getpid()}"
        self.part, self.done = folder / f"{stem}.part", folder / f"{stem}.done"
        self.entries: dict[str, dict[str, Any]] = {}
        self.size = 0
        self._data: IO[bytes] = self.part.open("wb")

    def add(self, name: str, tensor: Tensor) -> None:
        plain = tensor.detach().cpu().contiguous()
        end = self.size + plain.numel() * plain.element_size()
        kind = _NAMES[plain.dtype]
        self.entries[name] = {"dtype": kind, "shape": list(plain.shape), "data_offsets": [self.size, end]}
        self._data.write(plain.view(-1).view(torch.uint8).numpy().data if plain.numel() else b"")
        self.size = end

    def finish(self) -> None:
        self._data.close()
        header = json.dumps({"__metadata__": {"format": "pt"}, **self.entries}, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)  # data begin at a multiple of 8, as the library has it
        with self.done.open("wb") as out, self.part.open("rb") as data:
            out.write(struct.pack("<Q", len(header)) + header)
            shutil.copyfileobj(data, out, _COPY)
            out.flush()
            os.fsync(out.fileno())
        self.part.unlink()

    def discard(self) -> None:
        self._data.close()
        self.part.unlink(missing_ok=True)
        self.done.unlink(missing_ok=True)


def _put_in_place(folder: Path, shards: Sequence[_Shard]) -> list[Path]:
    """Give the written files their names; an index of an earlier model would hide the new one, so it goes."""
    count = len(shards)
    names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    names = [WEIGHTS] if count == 1 else names
    places = {name: file for file, shard in zip(names, shards, strict=True) for name in shard.entries}
    if len(places) != sum(len(shard.entries) for shard in shards):
        raise ValueError("a tensor's name was written twice")
    for file, shard in zip(names, shards, strict=True):
        shard.done.replace(folder / file)
    if count == 1:
        (folder / INDEX).unlink(missing_ok=True)
    else:
        (folder / WEIGHTS).unlink(missing_ok=True)
        index = {"metadata": {"total_size": sum(shard.size for shard in shards)}, "weight_map": places}
        files.write_json(folder / INDEX, index)
    return [folder / file for file in names]
