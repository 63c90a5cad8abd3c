"""The decoder language model: embedding → blocks → norm → output embedding.

Architecture only: devices, precision, parallelism, quantization and adapters are applied from outside.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seedbed.models.config import ModelConfig
from seedbed.models.stack import Stack
from seedbed.nn.mixer import State


class Decoder(Stack):
    """A causal language model over token ids."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.output = nn.Linear(config.d_model, config.vocab_size, bias=config.head_bias)
        self.tie()

    def forward(self, ids: Tensor, states: list[State] | None = None) -> tuple[Tensor, list[State] | None]:
        """Return logits (B, T, V) of ids (B, T), whose positions follow those in ``states``; and the new states."""
        hidden, states = self.hidden(ids, states)
        return self.head(hidden), states

    def head(self, hidden: Tensor) -> Tensor:
        """Return logits (…, V) of hidden states (…, D)."""
        config = self.config
        if config.logit_scale is not None:
            hidden = hidden * config.logit_scale
        logits: Tensor = self.output(hidden)
        return logits if config.logit_cap is None else config.logit_cap * torch.tanh(logits / config.logit_cap)

    def shared(self) -> dict[str, str]:
        """Return the tied output layer, where the configuration ties it to the embedding."""
        return {"output.weight": "embedding.weight"} if self.config.tied else {}

    def tie(self) -> None:
        """Tie the output to the embedding where the configuration says so."""
        if self.config.tied:
            self.output.weight = self.embedding.weight
