"""Recurrent mixers: Elman's RNN (1990), LSTM (Hochreiter & Schmidhuber 1997), GRU (Cho et al. 2014).

In a block they take attention's place layer by layer; the state makes streaming and truncated back-propagation work.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from seedbed.nn.mixer import Context, State

_CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """One recurrent layer of width D; its state is h, or (h, c) for the LSTM."""

    def __init__(self, kind: str, size: int) -> None:
        super().__init__()
        self.cell = _CELLS[kind](size, size, batch_first=True)

    def forward(self, x: Tensor, state: State, context: Context) -> tuple[Tensor, State]:
        """x (B, T, D) → (B, T, D) and the state after the last position."""
        y, state = self.cell(x, state)
        return y, state
