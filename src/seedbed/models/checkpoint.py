"""The interface of weights files of every format: tensors by name, read one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Checkpoint(Protocol):
    """Tensors by name. Opening one reads its headers only."""

    origin: str
    """The path, for messages."""

    def names(self) -> Sequence[str]:
        """Return the names of all tensors, in the file's order."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape, outermost axis first."""

    def dtype(self, name: str) -> torch.dtype:
        """Return the precision that :meth:`read` gives."""

    def read(self, name: str) -> Tensor:
        """Read one tensor, contiguous, in the file's precision; quantized ones come dequantized to float32.

        Raises:
            CorruptError: the file ends early or was changed while it was open.
        """
