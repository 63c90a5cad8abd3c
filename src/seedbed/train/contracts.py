"""The faces of the training loop: a batch, an objective's weights and terms, a source of batches.

The engine adds the weights of all micro-batches (and, later, of all ranks) before any forward pass, then
back-propagates ``coefficient · sum / total``. So accumulation, padding, masking and data parallelism are right once,
for every method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

Batch = Mapping[str, Tensor]
"""Named tensors; the first axis is the sequences."""


@dataclass(frozen=True)
class Term:
    """One part of a loss over a micro-batch.

    Attributes:
        sum: the summed (not averaged) loss, a scalar with a gradient.
        unit: which of the objective's weights it is divided by.
        coefficient: its factor in the total loss.
    """

    sum: Tensor
    unit: str
    coefficient: float = 1.0


class Objective(Protocol):
    """A training method."""

    def weights(self, batch: Batch) -> dict[str, int]:
        """How much of each unit a micro-batch holds, for example ``{"tokens": 812}``; without a forward pass."""

    def terms(self, model: nn.Module, batch: Batch) -> dict[str, Term]:
        """The loss of a micro-batch, as sums."""


class Source(Protocol):
    """An infinite, stateful iterator of batches."""

    def next(self) -> Batch:
        """The next batch."""

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, as JSON values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
