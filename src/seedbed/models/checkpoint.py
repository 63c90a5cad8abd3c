"""What a weights file offers, whatever its format: tensors by name, read one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Checkpoint(Protocol):
    """Tensors by name. Opening one reads its headers only."""

    origin: str
    """Where it came from, for messages."""

    def names(self) -> Sequence[str]:
        """Names of all tensors, in the file's order."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape, outermost axis first."""

    def dtype(self, name: str) -> torch.dtype:
        """The precision :meth:`read` gives."""

    def read(self, name: str) -> Tensor:
        """One tensor, contiguous, in the file's precision; quantized ones come dequantized to float32.

        Raises:
            CorruptError: the file ends early or was changed while it was open.
        """
