"""Sequences' states in another order or number: what beam search does with caches and recurrent states."""

from __future__ import annotations

import torch
from torch import Tensor

from seedbed.nn.block import CrossState
from seedbed.nn.cache import KVCache
from seedbed.nn.mixer import State


def spread(narrow: list[State], wide: list[State], beams: int) -> list[State]:
    """One sequence's states for every beam. Caches are copied into those of ``wide``."""
    return [_spread(old, new, beams) for old, new in zip(narrow, wide, strict=True)]


def reordered(states: list[State], rows: Tensor) -> list[State]:
    """States in which sequence i continues from what was sequence ``rows[i]``; caches change in place."""
    return [_reordered(state, rows) for state in states]


def _spread(old: State, new: State, beams: int) -> State:
    if isinstance(old, CrossState):
        cross = tuple(part.expand(beams, -1, -1, -1) for part in old.cross)  # all beams read the same text
        return CrossState(_spread(old.mixer, new.mixer, beams), cross)
    if not isinstance(old, KVCache):
        return _pick(old, torch.zeros(beams, dtype=torch.long))
    used, shape = slice(0, old.used), (beams, -1, -1, -1)
    new.append(old.k[:, :, used].expand(shape), old.v[:, :, used].expand(shape))
    return new


def _reordered(state: State, rows: Tensor) -> State:
    if isinstance(state, CrossState):
        return CrossState(_reordered(state.mixer, rows), state.cross)
    if not isinstance(state, KVCache):
        return _pick(state, rows)
    state.reorder(rows)
    return state


def _pick(state: State, rows: Tensor) -> State:
    """Rows of a recurrent state: h, or (h, c), each (1, B, D)."""
    if isinstance(state, tuple):
        return tuple(_pick(part, rows) for part in state)
    return state.index_select(1, rows.to(state.device))
