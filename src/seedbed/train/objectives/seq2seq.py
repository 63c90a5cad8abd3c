"""Span corruption: T5's pretraining on packed tokens (Raffel et al. 2020, section 3.1.4).

Spans of the text are taken out, each replaced by a sentinel; the decoder writes the sentinels with what they stand for.
How long spans are and where they lie is drawn as in T5's ``random_spans_noise_mask``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from seedbed.core.config import setting
from seedbed.core.errors import UsageError
from seedbed.models.encoder_decoder import EncoderDecoder
from seedbed.tokenizers.special import SENTINEL
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.train.contracts import Batch, Objective, Term

Row = NDArray[np.int64]


@dataclass(frozen=True)
class SpanCorruption(Objective):
    """-log p(target) of an encoder–decoder that fills in what was taken out of its source."""

    trains = "an encoder–decoder"
    share: float = setting(0.15, "share of the tokens that are taken out", at_least=0.01, at_most=0.9)
    span: float = setting(3.0, "mean length of what is taken out in one place", unit="tokens", at_least=1)

    def prepare(self, batch: Batch, random: np.random.Generator, tokenizer: Tokenizer) -> Batch:
        """Return ``source``, ``ids`` (the target, shifted right) and ``labels`` (the target), each (B, …).

        Raises UsageError where the tokenizer has too few sentinels.
        """
        start = tokenizer.bos_id if "bos_token" in tokenizer.names else tokenizer.pad_id
        rows = [self._corrupted(row, random, tokenizer) for row in batch["ids"].numpy()]
        source, target = (torch.from_numpy(np.stack(part)) for part in zip(*rows, strict=True))
        ids = torch.cat([torch.full((len(target), 1), start), target[:, :-1]], 1)
        return {"source": source, "ids": ids, "labels": target}

    def _corrupted(self, row: Row, random: np.random.Generator, tokenizer: Tokenizer) -> list[Row]:
        out = min(max(1, round(len(row) * self.share)), len(row) - 1)
        spans = min(max(1, round(out / self.span)), out, len(row) - out)
        names = [SENTINEL.format(number) for number in range(spans)]
        if missing := [name for name in names if name not in tokenizer.vocabulary]:
            fix = f"set `sentinels = {spans}` in the tokenizer stage's settings"
            raise UsageError(f"the tokenizer has no {missing[0]}", why=f"{spans} spans are taken out", fix=fix)
        lengths = np.stack([_parts(len(row) - out, spans, random), _parts(out, spans, random)], 1).flatten()
        kept = np.split(row, np.cumsum(lengths)[:-1])  # text, span, text, span …
        marks = [np.array([tokenizer.vocabulary[name]]) for name in names]
        source = [part for pair in zip(kept[::2], marks, strict=True) for part in pair]
        target = [part for pair in zip(marks, kept[1::2], strict=True) for part in pair]
        return [np.concatenate([*part, [tokenizer.end_id]]) for part in (source, target)]

    def weights(self, batch: Batch) -> dict[str, int]:
        """Count the target's tokens."""
        return {"tokens": batch["labels"].numel()}

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        """Compute one term, ``loss``, in nats."""
        logits = cast(EncoderDecoder, model)(batch["source"], batch["ids"])  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1).float(), batch["labels"].flatten(), reduction="sum")
        return {"loss": Term(loss, "tokens")}


def _parts(total: int, count: int, random: np.random.Generator) -> Row:
    """Draw ``count`` lengths of at least 1 that add up to ``total``, every such list as likely."""
    cuts = np.sort(random.choice(total - 1, count - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))
