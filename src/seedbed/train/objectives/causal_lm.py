"""Next-token prediction: pretraining, and fine-tuning where labels outside the answers are IGNORE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.models.decoder import Decoder
from seedbed.nn.loss import IGNORE, token_loss
from seedbed.train.contracts import Batch, Objective, Term


@dataclass(frozen=True)
class CausalLM(Objective):
    """-log p(label) summed over labels; the batch holds ``ids`` (B, T) and ``labels`` (B, T)."""

    def weights(self, batch: Batch) -> dict[str, int]:
        """Count the labels."""
        return {"tokens": int((batch["labels"] != IGNORE).sum())}

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        """Compute one term, ``loss``, in nats."""
        decoder = cast(Decoder, model)
        hidden, _ = decoder.hidden(batch["ids"])  # (B, T, D)
        return {"loss": Term(_loss(decoder, hidden.flatten(0, 1), batch["labels"].flatten()), "tokens")}

    def sequence_losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """Return -log p of each sequence's labels, (B,): the parts of the batch's sum, to compare sequences."""
        decoder = cast(Decoder, model)
        hidden, _ = decoder.hidden(batch["ids"])
        return torch.stack([_loss(decoder, *row) for row in zip(hidden, batch["labels"], strict=True)])


def _loss(decoder: Decoder, hidden: Tensor, labels: Tensor) -> Tensor:
    """Return the sum over labels; only where logits are squashed must all of them be held at once."""
    config = decoder.config
    if config.logit_cap is not None:
        return F.cross_entropy(decoder.head(hidden).float(), labels, reduction="sum", ignore_index=IGNORE)
    if config.logit_scale is not None:
        hidden = hidden * config.logit_scale
    return token_loss(hidden, decoder.output.weight, labels, decoder.output.bias)
