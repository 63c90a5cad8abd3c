"""Next-token prediction: pretraining, and fine-tuning where labels outside the answers are IGNORE."""

from __future__ import annotations

from typing import cast

from torch import nn

from seedbed.models.decoder import Decoder
from seedbed.nn.loss import IGNORE, token_loss
from seedbed.train.contracts import Batch, Term


class CausalLM:
    """-log p(label) summed over labels; the batch holds ``ids`` (B, T) and ``labels`` (B, T)."""

    def weights(self, batch: Batch) -> dict[str, int]:
        """The number of labels that count."""
        return {"tokens": int((batch["labels"] != IGNORE).sum())}

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        """One term, ``loss``, in nats."""
        decoder = cast(Decoder, model)
        hidden, _ = decoder.hidden(batch["ids"])  # (B, T, D)
        output = decoder.output
        return {"loss": Term(token_loss(hidden.flatten(0, 1), output.weight, batch["labels"].flatten()), "tokens")}
