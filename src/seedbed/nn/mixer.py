"""The face all mixers share: what moves information between positions, and the state it leaves behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from seedbed.nn.position import Rotation

State = Any
"""A mixer's memory of earlier positions: a KVCache, (h, c) of an LSTM, h of a GRU … or None at the start."""


@dataclass(frozen=True)
class Context:
    """What is computed once per forward and kind of layer, outside the mixers.

    Attributes:
        rotation: rotary tables of these positions, or None.
        mask: (T, S) additive mask, or None where plain causal or full attention is right.
        causal: T positions attend causally among themselves and nothing came before.
    """

    rotation: Rotation | None = None
    mask: Tensor | None = None
    causal: bool = True


class Mixer(Protocol):
    """(B, T, D) → (B, T, D), carrying state from the positions before to the positions after."""

    def forward(self, x: Tensor, state: State, context: Context) -> tuple[Tensor, State]:
        """Mix positions. Without state to start from, recurrent mixers start from zeros."""
