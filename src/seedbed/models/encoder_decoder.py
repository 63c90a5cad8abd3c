"""Encoder–decoder models: the Transformer of 2017, T5, BART. One text is read whole, another written token by token."""

from __future__ import annotations

from torch import Tensor, nn

from seedbed.models.config import EncoderDecoderConfig
from seedbed.models.decoder import Decoder
from seedbed.models.stack import Stack
from seedbed.nn.mixer import State


class EncoderDecoder(nn.Module):
    """The map from source ids and target ids to the target's next tokens."""

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Stack(config.encoder), Decoder(config.decoder)
        self.tie()

    def forward(self, source: Tensor, target: Tensor, *, source_real: Tensor | None = None) -> Tensor:
        """Return logits (B, T, V) of target (B, T) given source (B, S); ``source_real`` (B, S): text, not padding."""
        memory = self.encode(source, source_real)
        hidden, _ = self.decoder.hidden(target, memory=memory, memory_real=source_real)
        return self.decoder.head(hidden)

    def encode(self, source: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the encoder's hidden states: (B, S) → (B, S, D)."""
        return self.encoder.hidden(source, real=real)[0]

    def step(
        self, target: Tensor, states: list[State], memory: Tensor | None, memory_real: Tensor | None = None
    ) -> tuple[Tensor, list[State]]:
        """Return logits (B, T, V) of the next target tokens, and the states after them.

        ``states`` begin as ``decoder.new_state``; the memory is read at the first step and then kept in them.
        """
        hidden, after = self.decoder.hidden(target, states, memory=memory, memory_real=memory_real)
        assert after is not None
        return self.decoder.head(hidden), after

    def shared(self) -> dict[str, str]:
        """Return the tied parameters: the encoder embeds with the decoder's table; so may the output layer."""
        inner = {f"decoder.{name}": f"decoder.{owner}" for name, owner in self.decoder.shared().items()}
        return {"encoder.embedding.weight": "decoder.embedding.weight", **inner}

    def tie(self) -> None:
        """Tie them again, as after a move off the meta device."""
        self.encoder.embedding.weight = self.decoder.embedding.weight
        self.decoder.tie()

    def initialise(self, seed: int) -> None:
        """Draw the weights, as for each half alone."""
        self.encoder.initialise(seed + 1)
        self.decoder.initialise(seed)
