"""The block: norm → mixer → add, norm → feed-forward → add; or with the norms after the additions (post-norm)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from seedbed.nn.mixer import Context, State

NormPlace = Literal["pre", "post"]


class Block(nn.Module):
    """One layer around an exchangeable mixer.

    Args:
        mixer: a module with the face of `seedbed.nn.mixer.Mixer`.
        feedforward: (B, T, D) → (B, T, D), or None for a mixer alone.
        norms: one norm for the mixer and one for the feed-forward layer.
        place: norms before each part (GPT-2, LLaMA) or after each addition (Transformer 2017, GPT-1).
        dropout: share of each part's output dropped in training.
    """

    def __init__(
        self,
        mixer: nn.Module,
        feedforward: nn.Module | None,
        norms: tuple[nn.Module, nn.Module],
        place: NormPlace = "pre",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.mixer, self.feedforward, self.place = mixer, feedforward, place
        self.mixer_norm = norms[0]
        self.feedforward_norm = norms[1] if feedforward is not None else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, state: State, context: Context) -> tuple[Tensor, State]:
        """x (B, T, D) → (B, T, D) and the mixer's new state."""
        if self.place == "post":
            y, state = self.mixer(x, state, context)
            x = self.mixer_norm(x + self.dropout(y))
            if self.feedforward is not None and self.feedforward_norm is not None:
                x = self.feedforward_norm(x + self.dropout(self.feedforward(x)))
            return x, state
        y, state = self.mixer(self.mixer_norm(x), state, context)
        x = x + self.dropout(y)
        if self.feedforward is not None and self.feedforward_norm is not None:
            x = x + self.dropout(self.feedforward(self.feedforward_norm(x)))
        return x, state
