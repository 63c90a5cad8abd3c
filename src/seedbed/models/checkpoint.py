"""The interface of weights files of every format: tensors by name, read one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Checkpoint(Protocol):
    """Tensors by name. Opening one reads its headers only."""

    origin: str  # the path, for messages

    def names(self) -> Sequence[str]:
        """Return the names of all tensors, in the file's order."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, outermost axis first."""

    def dtype(self, name: str) -> torch.dtype:
        """Return the precision that :meth:`read` gives."""

    def read(self, name: str) -> Tensor:
        """Read one tensor, contiguous, in the file's precision; quantized ones come dequantized to float32.

        Raises CorruptError where the file ends early or was changed while it was open.
        """


class CombinedCheckpoint:
    """Tensors of one or several checkpoints as one; ``places`` names the checkpoint of each."""

    def __init__(self, origin: str, places: Mapping[str, Checkpoint]) -> None:
        self.origin = origin
        self._places = places

    def names(self) -> Sequence[str]:
        """Return the names of all tensors, in the order of ``places``."""
        return list(self._places)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, outermost axis first."""
        return self._places[name].shape(name)

    def dtype(self, name: str) -> torch.dtype:
        """Return the precision that :meth:`read` gives; raises UsageError where PyTorch has no such type."""
        return self._places[name].dtype(name)

    def read(self, name: str) -> Tensor:
        """Read one tensor, as its own checkpoint does."""
        return self._places[name].read(name)
