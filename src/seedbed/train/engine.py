"""One training step: micro-batches in, one update out. The loop decides when."""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from seedbed.core.errors import TrainingError
from seedbed.core.machine import multiplies_bfloat16
from seedbed.models.factory import AnyModel
from seedbed.models.stack import Stack
from seedbed.train.contracts import Batch, Objective
from seedbed.train.optimizers import Optimizers, is_matrix
from seedbed.train.settings import TrainSettings


@dataclass(frozen=True)
class StepResult:
    """One update: each term's average loss, the total, the gradient's norm before clipping, and what was counted."""

    terms: dict[str, float]
    loss: float
    gradient_norm: float
    weights: dict[str, int]


class TrainingEngine:
    """A model, an objective and the optimizers, on one device."""

    def __init__(self, model: AnyModel, objective: Objective, settings: TrainSettings) -> None:
        self.model, self.objective, self.settings = model, objective, settings
        self.device = next(model.parameters()).device
        self.precision = _precision(settings, self.device)
        self.optimizers = Optimizers(model, settings)
        for stack in (module for module in model.modules() if isinstance(module, Stack)):
            stack.checkpoint_activations = stack.checkpoint_activations or settings.checkpoint_activations
            if settings.compile:
                stack.hidden = torch.compile(stack.hidden)  # type: ignore[method-assign]

    def step(self, micro_batches: Sequence[Batch], learning_rate: float, where: str = "") -> StepResult:
        """Accumulate the gradient of all micro-batches and update.

        Args:
            learning_rate: factor of the peak learning rates.
            where: which batch this is, for the error.

        Raises:
            TrainingError: the loss or the gradient is not finite; nothing was updated.
        """
        self.model.train()
        batches = [self._to_device(batch) for batch in micro_batches]
        totals = add(self.objective.weights(batch) for batch in batches)
        terms: dict[str, float] = {}
        loss = 0.0
        for batch in batches:
            for name, value in self._backward(batch, totals).items():
                terms[name] = terms.get(name, 0.0) + value[0]
                loss += value[1]
        norm = self._gradient_norm()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self.optimizers.clear()
            raise TrainingError(
                "the loss is not finite" if not math.isfinite(loss) else "the gradient is not finite",
                why=f"loss {loss}, gradient norm {norm} {where}".strip(),
                fix="resume from the last checkpoint with a lower learning rate, or look at that batch's text",
            )
        self.optimizers.set_learning_rate(learning_rate)
        self.optimizers.step()
        self.optimizers.clear()
        return StepResult(terms, loss, norm, totals)

    @torch.no_grad()
    def evaluate(self, batches: Sequence[Batch]) -> dict[str, float]:
        """Average loss of each term over batches, in evaluation mode."""
        self.model.eval()
        sums: dict[str, float] = {}
        totals = add(self.objective.weights(batch) for batch in batches)
        for batch in batches:
            with self._autocast():
                for name, term in self.objective.terms(self.model, self._to_device(batch)).items():
                    sums[name] = sums.get(name, 0.0) + float(term.sum) / max(1, totals[term.unit])
        return sums

    def _backward(self, batch: Batch, totals: dict[str, int]) -> dict[str, tuple[float, float]]:
        """Add the gradient of one micro-batch. Returns each term's share of the average and of the loss."""
        with self._autocast():
            terms = self.objective.terms(self.model, batch)
        shares = {name: term.sum / max(1, totals[term.unit]) for name, term in terms.items()}
        loss: Tensor = sum((terms[name].coefficient * share for name, share in shares.items()), torch.zeros(()))
        loss.backward()  # type: ignore[no-untyped-call]
        averages = {name: float(share.detach()) for name, share in shares.items()}
        return {name: (average, terms[name].coefficient * average) for name, average in averages.items()}

    def _gradient_norm(self) -> float:
        """The norm before clipping; L1's gradient is added first, once a step."""
        if self.settings.l1:
            for name, parameter in self.model.named_parameters():
                if parameter.grad is not None and is_matrix(name, parameter):
                    parameter.grad.add_(parameter.detach().sign(), alpha=self.settings.l1)
        limit = self.settings.clip or math.inf
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        return float(torch.nn.utils.clip_grad_norm_(parameters, limit))

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.precision)

    def _to_device(self, batch: Batch) -> Batch:
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}


def add(weights: Iterable[dict[str, int]]) -> dict[str, int]:
    """The sum of several micro-batches' weights."""
    totals = Counter[str]()
    for part in weights:
        totals.update(part)
    return totals


def _precision(settings: TrainSettings, device: torch.device) -> torch.dtype:
    if settings.precision in ("float32", "bfloat16"):
        return torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if settings.precision == "fast" and multiplies_bfloat16() else torch.float32
