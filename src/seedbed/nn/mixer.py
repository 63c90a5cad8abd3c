"""The interface of mixers: layers that move information between positions and leave a state behind.

A mixer is a module ``forward(x, state, context) -> (y, state)`` with x and y (B, T, D); recurrent ones start from zeros
where the state is None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from seedbed.nn.position import Rotation

State = Any  # a mixer's memory of earlier positions: a KVCache, (h, c) of an LSTM, h of a GRU … or None at the start


@dataclass(frozen=True)
class Context:
    """Tables and masks that are computed once per forward and kind of layer, outside the mixers."""

    rotation: Rotation | None = None  # rotary tables of these positions
    # what is seen (bool) or added to the scores (float), broadcast to (B, H, T, S); None: plainly causal, or everything
    mask: Tensor | None = None
    causal: bool = True  # T positions attend causally among themselves and nothing came before
    memory: Tensor | None = None  # an encoder's output (B, S, D); None once its keys and values are cached
    memory_mask: Tensor | None = None  # as ``mask``, for the memory
