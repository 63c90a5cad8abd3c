"""Feed-forward layers: plain (Vaswani et al. 2017) and gated (GLU variants, Shazeer 2020)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["silu", "gelu", "gelu_tanh", "gelu_quick", "relu", "relu2", "tanh"]


def _gelu_quick(x: Tensor) -> Tensor:
    """``x · sigmoid(1.702 x)`` (Hendrycks & Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


def _relu2(x: Tensor) -> Tensor:
    """Squared ReLU (So et al. 2021, Primer)."""
    return F.relu(x).square()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "gelu_quick": _gelu_quick,
    "relu": torch.relu,
    "relu2": _relu2,
    "tanh": torch.tanh,
}


class FeedForward(nn.Module):
    """(B, T, D) → (B, T, D) through ``hidden`` channels; with a gate, ``down(act(gate(x)) * up(x))``."""

    def __init__(self, size: int, hidden: int, activation: Activation, *, gated: bool, bias: bool = False) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.gate = nn.Linear(size, hidden, bias=bias) if gated else None
        self.up = nn.Linear(size, hidden, bias=bias)
        self.down = nn.Linear(hidden, size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Compute each position on its own."""
        if self.gate is None:
            return self.down(self.activation(self.up(x)))  # type: ignore[no-any-return]
        return self.down(self.activation(self.gate(x)) * self.up(x))  # type: ignore[no-any-return]
