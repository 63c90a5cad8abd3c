"""Packed tokens: windows out of one row of documents, for pretraining; several corpora are mixed by their weights.

Every token that has a label is used: a small corpus cannot afford to drop the ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from seedbed.core.artifacts import Artifact
from seedbed.core.errors import DataError
from seedbed.corpus.pack import TokenShards
from seedbed.nn.loss import IGNORE
from seedbed.train.contracts import VALIDATION_SEED, Batch, Feed, Feeding, SourceKind


@dataclass(frozen=True)
class PackedSource(SourceKind):
    """Windows of the corpus's packed tokens."""

    def open(self, given: Feeding) -> Feed:
        """Open the tokens of an earlier stage; UsageError where another tokenizer made them."""
        tokens = given.artifact("tokens")
        shards, batch, context = open_tokens(tokens, given), given.settings.batch, given.context
        source = training_tokens(shards, context, batch, given.settings.seed)
        parts = [source] if isinstance(source, PackedTokens) else source.parts
        per_epoch = sum(part.windows for part in parts) / batch
        told = f"{len(shards.split('train')) / 1e6:.2f} M tokens"
        return Feed(source, batch * context, per_epoch, _validation(shards, given), told)


def open_tokens(tokens: Artifact, given: Feeding) -> TokenShards:
    """Open a tokens artifact and check that the model's tokenizer made it."""
    shards = TokenShards.open(tokens)
    given.tokenizer.require(shards.tokenizer_hash, f"the tokens {tokens.id[:12]}")
    return shards


def training_tokens(shards: TokenShards, context: int, batch: int, seed: int) -> PackedTokens | Mixture:
    """Return the training split: one corpus as it is, several mixed by their weights."""
    shares = {name: share for name, share in shards.weights.items() if share > 0}
    if len(shares) == 1:
        return PackedTokens(shards.split("train", next(iter(shares))), context, batch, seed)
    parts = [PackedTokens(shards.split("train", name), context, 1, seed) for name in shares]
    return Mixture(parts, list(shares.values()), batch, seed)


def _validation(shards: TokenShards, given: Feeding) -> list[Batch]:
    """A fixed sample of validation windows; none where the split is too small for one."""
    valid, settings = shards.split("valid"), given.settings
    batch = min(settings.batch, len(valid) // given.context)
    if not settings.evaluate_every or not batch:
        return []
    source = PackedTokens(valid, given.context, batch, VALIDATION_SEED)
    count = min(settings.evaluate_batches, max(1, source.windows // batch))
    return [source.next() for _ in range(count)]


class TokenReader(Protocol):
    """A long row of token ids."""

    def __len__(self) -> int:
        """Tokens."""

    def read(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Tokens ``start … stop - 1``."""


class Epochs:
    """An iterator over epochs, each in an order drawn from (seed, epoch): its state is the epoch and a position."""

    epoch = position = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch and the position in it."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self._shuffle()

    def _shuffle(self) -> None:
        """Draw the order of the epoch from (seed, epoch)."""
        raise NotImplementedError


class PackedTokens(Epochs):
    """Windows of ``context`` tokens out of one row of documents.

    Each epoch cuts the row at another offset, closes it into a ring, and visits the windows in a new order; every
    token is predicted exactly once an epoch. A window may hold the end of one document and the start of the next.
    Raises DataError where the row is shorter than one batch.
    """

    def __init__(self, tokens: TokenReader, context: int, batch: int, seed: int) -> None:
        if len(tokens) < context * batch:
            raise DataError(
                "the corpus is smaller than one batch",
                why=f"{len(tokens):,} training tokens, a batch is {batch} x {context} = {context * batch:,}",
                fix="add text, or lower the batch or the context in the recipe",
            )
        self.tokens, self.context, self.batch, self.seed = tokens, context, batch, seed
        self.windows = -(-len(tokens) // context)
        self._shuffle()

    def next(self) -> Batch:
        """``ids`` and ``labels``, (batch, context)."""
        rows = [self._window(self._next_index()) for _ in range(self.batch)]
        ids, labels = zip(*rows, strict=True)
        return {"ids": torch.from_numpy(np.stack(ids)), "labels": torch.from_numpy(np.stack(labels))}

    @property
    def where(self) -> str:
        """For messages: the epoch and the window."""
        return f"epoch {self.epoch}, window {self.position} of {self.windows}"

    def _shuffle(self) -> None:
        generator = np.random.default_rng((self.seed, self.epoch))
        self.offset = int(generator.integers(len(self.tokens)))
        self.order = generator.permutation(self.windows)

    def _next_index(self) -> int:
        if self.position == self.windows:
            self.epoch, self.position = self.epoch + 1, 0
            self._shuffle()
        self.position += 1
        return int(self.order[self.position - 1])

    def _window(self, index: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Inputs and labels of a window; what the last one has too much is IGNORE."""
        start = index * self.context
        row = self._ring(start + self.offset, self.context + 1)
        labels = row[1:].copy()
        labels[max(0, len(self.tokens) - start) :] = IGNORE
        return row[:-1], labels

    def _ring(self, start: int, count: int) -> np.ndarray[Any, Any]:
        size = len(self.tokens)
        start %= size
        parts = []
        while count > 0:
            part = np.asarray(self.tokens.read(start, min(size, start + count)), dtype=np.int64)
            parts.append(part)
            count -= len(part)
            start = 0
        return np.concatenate(parts)


class Mixture:
    """Several sources in one batch: each sequence comes from source i with probability ``shares[i]``.

    The draw depends on (seed, number of the sequence) alone. This is how GPT-3 weights its data (Brown et al. 2020,
    table 2.2): a source may be seen several times while another is not yet through.
    """

    def __init__(self, parts: Sequence[PackedTokens], shares: Sequence[float], batch: int, seed: int) -> None:
        total = sum(shares)
        self.parts, self.shares = list(parts), [share / total for share in shares]
        self.batch, self.seed, self.drawn = batch, seed, 0

    def next(self) -> Batch:
        """``ids`` and ``labels``, (batch, context)."""
        picks = np.random.default_rng((self.seed, self.drawn)).choice(len(self.parts), self.batch, p=self.shares)
        self.drawn += 1
        rows = [self.parts[pick].next() for pick in picks]
        return {name: torch.cat([row[name] for row in rows]) for name in ("ids", "labels")}

    @property
    def where(self) -> str:
        """For messages: the batch."""
        return f"batch {self.drawn} of the mix"

    def state_dict(self) -> dict[str, Any]:
        """The draws so far and every part's place."""
        return {"drawn": self.drawn, "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.drawn = int(state["drawn"])
        for part, stored in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(stored)
