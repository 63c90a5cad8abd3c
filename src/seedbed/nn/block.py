"""The block: a mixer and a feed-forward layer around the residual stream, with norms where a family puts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from torch import Tensor, nn

from seedbed.nn.mixer import Context, State

NormPlace = Literal["pre", "post", "sandwich", "parallel", "shared"]
"""Places of the norms: before each part (GPT-2, LLaMA); after each addition (Transformer 2017, BERT); before and after
each part (Gemma 2); before each part, both reading the same stream (GPT-NeoX); so, but through one norm (Phi-2)."""


class CrossState(NamedTuple):
    """State of a block with cross-attention: its mixer's state and the encoder's keys and values."""

    mixer: State
    cross: State


class Block(nn.Module):
    """One layer around an exchangeable mixer, a module as `seedbed.nn.mixer` describes it."""

    def __init__(
        self,
        mixer: nn.Module,
        feedforward: nn.Module | None,  # (B, T, D) → (B, T, D), or None for a mixer alone
        norms: Callable[[], nn.Module],  # makes a norm of the stream's width
        place: NormPlace = "pre",
        cross: nn.Module | None = None,  # attention to an encoder, in between; only with norms "pre" or "post"
        dropout: float = 0.0,  # share of each part's output dropped in training
    ) -> None:
        super().__init__()
        self.mixer, self.cross, self.feedforward, self.place = mixer, cross, feedforward, place
        sandwich, separate = place == "sandwich", feedforward is not None and place != "shared"
        self.mixer_norm = norms()
        self.cross_norm = norms() if cross is not None else None
        self.feedforward_norm = norms() if separate else None
        self.mixer_end_norm = norms() if sandwich else None
        self.feedforward_end_norm = norms() if sandwich and feedforward is not None else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: State, context: Context) -> tuple[Tensor, State]:
        """x (B, T, D) → (B, T, D) and the new state."""
        if self.place in ("parallel", "shared"):
            return self._parallel(x, state, context)
        mixer_state, cross_state = state if isinstance(state, CrossState) else (state, None)
        y, mixer_state = self.mixer(self._before(x, self.mixer_norm), mixer_state, context)
        x = self._add(x, y, self.mixer_norm, self.mixer_end_norm)
        if self.cross is not None and self.cross_norm is not None:
            y, cross_state = self.cross(self._before(x, self.cross_norm), cross_state, context)
            x = self._add(x, y, self.cross_norm, None)
            mixer_state = CrossState(mixer_state, cross_state)
        if self.feedforward is not None and self.feedforward_norm is not None:
            y = self.feedforward(self._before(x, self.feedforward_norm))
            x = self._add(x, y, self.feedforward_norm, self.feedforward_end_norm)
        return x, mixer_state

    def _before(self, x: Tensor, norm: nn.Module) -> Tensor:
        return x if self.place == "post" else norm(x)

    def _add(self, x: Tensor, y: Tensor, norm: nn.Module, end: nn.Module | None) -> Tensor:
        y = x + self.dropout(y if end is None else end(y))
        return norm(y) if self.place == "post" else y

    def _parallel(self, x: Tensor, state: State, context: Context) -> tuple[Tensor, State]:
        normed = self.mixer_norm(x)
        y, state = self.mixer(normed, state, context)
        y = self.dropout(y)
        if self.feedforward is not None:
            second = normed if self.feedforward_norm is None else self.feedforward_norm(x)
            y = y + self.dropout(self.feedforward(second))
        return x + y, state
