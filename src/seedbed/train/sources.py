"""Where batches come from: packed token shards for pretraining, conversations with a loss mask for fine-tuning.

Both go through their data in epochs, in an order drawn from (seed, epoch), so their whole state is two numbers; and
both use every token that has a label: a small corpus cannot afford to drop the ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from seedbed.core.errors import DataError
from seedbed.nn.loss import IGNORE
from seedbed.train.contracts import Batch


class TokenReader(Protocol):
    """A long row of token ids."""

    def __len__(self) -> int:
        """Tokens."""

    def read(self, start: int, stop: int) -> np.ndarray[Any, Any]:
        """Tokens ``start … stop - 1``."""


class _Epochs:
    """Something that is gone through in epochs, each in an order of its own: its state is the epoch and the place."""

    epoch = position = 0

    def state_dict(self) -> dict[str, Any]:
        """Epoch and position in it."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.epoch, self.position = int(state["epoch"]), int(state["position"])
        self._shuffle()

    def _shuffle(self) -> None:
        """Draw the order of the epoch from (seed, epoch)."""
        raise NotImplementedError


class PackedTokens(_Epochs):
    """Windows of ``context`` tokens out of one row of documents.

    Each epoch cuts the row at another offset, closes it into a ring, and visits the windows in a new order; every
    token is predicted exactly once an epoch. A window may hold the end of one document and the start of the next.

    Raises:
        DataError: the row is shorter than one batch.
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


@dataclass(frozen=True)
class TokenizedConversation:
    """Token ids and which of them an assistant wrote."""

    ids: list[int]
    answered: list[bool]


class ChatSource(_Epochs):
    """Conversations, one a row, with labels on the assistant's tokens only.

    Batches hold conversations of similar length (so that little is padding): an epoch's order is cut into pools of 32
    batches, each pool is sorted by length and its batches shuffled. Conversations longer than the context lose their
    end (``shortened`` counts them); those of which no answer is left are left out (``left_out``).

    Raises:
        DataError: there are fewer conversations than a batch holds.
    """

    POOL = 32

    def __init__(
        self, conversations: Sequence[TokenizedConversation], context: int, batch: int, pad: int, seed: int
    ) -> None:
        usable = [conversation for conversation in conversations if any(conversation.answered[1 : context + 1])]
        self.left_out = len(conversations) - len(usable)
        self.shortened = sum(len(conversation.ids) > context + 1 for conversation in usable)
        if len(usable) < batch:
            raise DataError(
                "there are fewer conversations than one batch holds",
                why=f"{len(usable)} of {len(conversations)} have an answer within {context} tokens; a batch is {batch}",
                fix="raise model.context, lower finetune.train.batch, or add text that questions can be made from",
            )
        self.conversations = usable
        self.context, self.batch, self.pad, self.seed = context, batch, pad, seed
        self._shuffle()

    def next(self) -> Batch:
        """``ids`` and ``labels``, (batch, longest conversation)."""
        if self.position == len(self.batches):
            self.epoch, self.position = self.epoch + 1, 0
            self._shuffle()
        rows = [self.conversations[index] for index in self.batches[self.position]]
        self.position += 1
        return collate(rows, self.context, self.pad)

    @property
    def where(self) -> str:
        """For messages: the epoch and the batch."""
        return f"epoch {self.epoch}, batch {self.position} of {len(self.batches)}"

    def _shuffle(self) -> None:
        generator = np.random.default_rng((self.seed, self.epoch))
        order = generator.permutation(len(self.conversations))
        self.batches: list[list[int]] = []
        for start in range(0, len(order), self.POOL * self.batch):
            pool = sorted(order[start : start + self.POOL * self.batch], key=lambda i: len(self.conversations[i].ids))
            cut = [[int(i) for i in pool[at : at + self.batch]] for at in range(0, len(pool), self.batch)]
            self.batches += [cut[index] for index in generator.permutation(len(cut))]


class Alternating:
    """Batches of two sources in turn: a share of the steps comes from ``second``, evenly spread."""

    def __init__(self, first: ChatSource, second: PackedTokens | Mixture, share: float) -> None:
        self.parts, self.share, self.steps = (first, second), share, 0

    def next(self) -> Batch:
        """A whole batch of one of them."""
        self.steps += 1
        return self.parts[self._turn()].next()

    @property
    def where(self) -> str:
        """For messages."""
        return self.parts[self._turn()].where

    def state_dict(self) -> dict[str, Any]:
        """The steps so far and both places."""
        return {"steps": self.steps, "parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.steps = int(state["steps"])
        for part, stored in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(stored)

    def _turn(self) -> int:
        """Which part the newest batch is from."""
        return int(self.steps * self.share) - int((self.steps - 1) * self.share)


def collate(rows: Sequence[TokenizedConversation], context: int, pad: int) -> Batch:
    """Pad conversations on the right to a batch; a token is a label where an assistant wrote it."""
    rows = [TokenizedConversation(row.ids[: context + 1], row.answered[: context + 1]) for row in rows]
    width = max(len(row.ids) for row in rows) - 1
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORE)
    for index, row in enumerate(rows):
        tokens = torch.tensor(row.ids)
        ids[index, : len(row.ids) - 1] = tokens[:-1]
        wanted = torch.tensor(row.answered[1:])
        labels[index, : len(row.ids) - 1] = torch.where(wanted, tokens[1:], IGNORE)
    return {"ids": ids, "labels": labels}


def split_batch(batch: Mapping[str, torch.Tensor], size: int) -> list[Batch]:
    """Cut a batch into micro-batches of ``size`` sequences (0: leave it whole)."""
    count = len(next(iter(batch.values())))
    if not size or size >= count:
        return [batch]
    return [{name: tensor[at : at + size] for name, tensor in batch.items()} for at in range(0, count, size)]
