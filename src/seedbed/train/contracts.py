"""Contracts of the training loop: a batch, an objective's weights and terms, a source of batches.

The engine adds the weights of all micro-batches (and, later, of all ranks) before any forward pass, then
back-propagates ``coefficient · sum / total``. So accumulation, padding, masking and data parallelism are right once,
for every method.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import Tensor, nn

from seedbed.core.artifacts import Artifact
from seedbed.core.config import Variant
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.train.settings import TrainSettings

Batch = Mapping[str, Tensor]
"""Named tensors; the first axis is the sequences."""
VALIDATION_SEED = 1
"""Not the training seed: the same held-out batches whatever the run."""


@dataclass(frozen=True)
class Term:
    """One part of a loss over a micro-batch."""

    sum: Tensor  # the summed (not averaged) loss, a scalar with a gradient
    unit: str  # which of the objective's weights it is divided by
    coefficient: float = 1.0  # its factor in the total loss


class Objective(Variant):
    """A training method: one file in ``train/objectives/``, whose fields are its settings."""

    home = "seedbed.train.objectives"
    trains: ClassVar[str] = "a decoder"
    """The kind of model that it trains, in the words of :func:`seedbed.models.store.kind_of`."""

    def prepare(self, batch: Batch, random: np.random.Generator, tokenizer: Tokenizer) -> Batch:
        """Return a source's batch as the method wants it: masked, corrupted. As it is unless a method says otherwise.

        Args:
            random: drawn from (seed, step), so that a resumed run prepares the same.
        """
        return batch

    def weights(self, batch: Batch) -> dict[str, int]:
        """Count how much of each unit a micro-batch holds, for example ``{"tokens": 812}``; without a forward pass."""
        raise NotImplementedError

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        """Compute the loss of a micro-batch, as sums."""
        raise NotImplementedError


class Source(Protocol):
    """An infinite, stateful iterator of batches."""

    @property
    def where(self) -> str:
        """Name the position, for messages."""

    def next(self) -> Batch:
        """Return the next batch."""

    def state_dict(self) -> dict[str, Any]:
        """Return its position, as JSON values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a position."""


@dataclass(frozen=True)
class Feeding:
    """A training stage's needs, from which a source is opened."""

    title: str  # the stage's name, for messages
    artifact: Callable[[str], Artifact]  # finds an earlier stage's by its kind; it becomes a parent of the model
    tokenizer: Tokenizer  # the model's
    context: int  # longest sequence, in tokens
    settings: TrainSettings


@dataclass(frozen=True)
class Feed:
    """An opened source."""

    source: Source
    tokens_per_step: int  # this and the next turn a length in tokens or epochs into steps
    steps_per_epoch: float
    validation: Sequence[Batch]  # a fixed sample of held-out batches
    told: str  # the amount of data, in words
    prompts: Sequence[Sequence[Mapping[str, Any]]] = ()  # held-out ones that live samples answer, if there are any


class SourceKind(Variant):
    """A kind of source: one file in ``train/sources/``, whose fields are its settings."""

    home = "seedbed.train.sources"

    def open(self, given: Feeding) -> Feed:
        """Open the source; DataError where there is less data than a batch holds."""
        raise NotImplementedError


class ModelTransform(Variant):
    """A change of the model for one stage: a file in ``train/transforms/``, whose fields are its settings."""

    home = "seedbed.train.transforms"

    def apply(self, model: nn.Module, seed: int) -> None:
        """Change the model in place, before its optimizers are made."""
        raise NotImplementedError

    def finish(self, model: nn.Module) -> Callable[[Path], None] | None:
        """Make the model a plain one again; return a writer of what was learned apart from it, if anything was."""
        raise NotImplementedError
