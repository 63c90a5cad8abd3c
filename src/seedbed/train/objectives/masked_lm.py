"""Masked language modelling: BERT's pretraining on packed tokens (Devlin et al. 2019, section 3.1, task 1).

Left out: next-sentence prediction, which RoBERTa (Liu et al. 2019) found to be of no use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from seedbed.core.config import setting
from seedbed.core.errors import UsageError
from seedbed.models.task_model import TaskModel
from seedbed.nn.loss import IGNORE
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.train.contracts import Batch, Objective, Term


@dataclass(frozen=True)
class MaskedLM(Objective):
    """-log p(token) at chosen positions; of these, most are masked, some replaced, some left as they are."""

    trains = "a masked language model"
    share: float = setting(0.15, "share of the tokens that are predicted", at_least=0.01, at_most=0.99)
    masked: float = setting(0.8, "of these: replaced by the mask token", at_least=0, at_most=1)
    replaced: float = setting(0.1, "of these: replaced by a random token; the others stay", at_least=0, at_most=1)

    def prepare(self, batch: Batch, random: np.random.Generator, tokenizer: Tokenizer) -> Batch:
        """Return ``ids`` (B, T) with positions masked, and ``labels`` (B, T) at these; special tokens stay.

        Raises UsageError where the tokenizer has no mask token.
        """
        mask = tokenizer.vocabulary.get(tokenizer.names.get("mask_token", ""))
        if mask is None:
            fix = "set `mask = true` in the tokenizer stage's settings"
            raise UsageError("the tokenizer has no mask token", why="masked_lm writes it over tokens", fix=fix)
        ids = batch["ids"].numpy()
        chosen = (random.random(ids.shape) < self.share) & ~np.isin(ids, list(tokenizer.special_ids))
        draw, words = random.random(ids.shape), random.integers(tokenizer.vocab_size, size=ids.shape)
        seen = np.where(draw < self.masked, mask, np.where(draw < self.masked + self.replaced, words, ids))
        labels = np.where(chosen, ids, IGNORE)
        return {"ids": torch.from_numpy(np.where(chosen, seen, ids)), "labels": torch.from_numpy(labels)}

    def weights(self, batch: Batch) -> dict[str, int]:
        """Count the predicted tokens."""
        return {"tokens": int((batch["labels"] != IGNORE).sum())}

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        """Compute one term, ``loss``, in nats; only predicted positions go through the head."""
        encoder, chosen = cast(TaskModel, model), batch["labels"] != IGNORE
        logits = encoder.head(encoder.hidden(batch["ids"])[0][chosen])  # (N, V)
        return {"loss": Term(F.cross_entropy(logits.float(), batch["labels"][chosen], reduction="sum"), "tokens")}
