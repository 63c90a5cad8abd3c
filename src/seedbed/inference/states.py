"""Sequences' states in another order or number: what beam search does with caches and recurrent states."""

from __future__ import annotations

import torch
from torch import Tensor

from seedbed.nn.cache import KVCache
from seedbed.nn.mixer import State


def spread(narrow: list[State], wide: list[State], beams: int) -> list[State]:
    """One sequence's states for every beam. Caches are copied into those of ``wide``."""
    for layer, state in enumerate(narrow):
        if isinstance(state, KVCache):
            used = slice(0, state.used)
            shape = (beams, -1, -1, -1)
            wide[layer].append(state.k[:, :, used].expand(shape), state.v[:, :, used].expand(shape))
    first = torch.zeros(beams, dtype=torch.long)
    return [new if isinstance(new, KVCache) else _pick(old, first) for old, new in zip(narrow, wide, strict=True)]


def reordered(states: list[State], rows: Tensor) -> list[State]:
    """States in which sequence i continues from what was sequence ``rows[i]``; caches change in place."""
    for state in states:
        if isinstance(state, KVCache):
            state.reorder(rows)
    return [state if isinstance(state, KVCache) else _pick(state, rows) for state in states]


def _pick(state: State, rows: Tensor) -> State:
    """Rows of a recurrent state: h, or (h, c), each (1, B, D)."""
    if isinstance(state, tuple):
        return tuple(_pick(part, rows) for part in state)
    return state.index_select(1, rows.to(state.device))
