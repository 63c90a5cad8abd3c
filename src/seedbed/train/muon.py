"""Muon (Jordan et al. 2024): momentum whose update is replaced by the nearest orthogonal matrix.

PyTorch has one too (torch.optim.Muon); it orthogonalises in bfloat16, which CPUs without bfloat16 units do at a third
of float32's speed, and one matrix at a time. This one works in the gradient's precision and stacks matrices of equal
shape into one batched product.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration; chosen by Jordan et al. to lift small singular values fastest."""
ITERATIONS = 5


def orthogonalise(matrices: Tensor) -> Tensor:
    """Push all singular values of each (…, M, N) matrix towards 1, keeping the singular vectors."""
    a, b, c = COEFFICIENTS
    wide = matrices.shape[-2] <= matrices.shape[-1]
    x: Tensor = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Muon for weight matrices.

    Args:
        params: matrices (2-D).
        lr: size of a step; a matrix with more rows than columns takes sqrt(rows / columns) larger ones.
        momentum: decay of the gradients' mean, applied Nesterov's way.
        weight_decay: decoupled decay, times lr.
    """

    def __init__(
        self, params: Iterable[Tensor], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[tuple[torch.Size, torch.device], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape, parameter.device].append(parameter)
            for parameters in alike.values():
                self._step_alike(parameters, group["lr"], group["momentum"], group["weight_decay"])

    def _step_alike(self, parameters: list[Tensor], lr: float, momentum: float, weight_decay: float) -> None:
        directions = torch.stack([self._momentum(parameter, momentum) for parameter in parameters])
        rows, columns = directions.shape[-2:]
        scale = lr * max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(parameters, orthogonalise(directions), strict=True):
            if weight_decay:
                parameter.mul_(1 - lr * weight_decay)
            parameter.add_(update, alpha=-scale)

    def _momentum(self, parameter: Tensor, momentum: float) -> Tensor:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(parameter)
        mean: Tensor = state["mean"]
        mean.mul_(momentum).add_(gradient)
        return gradient.add(mean, alpha=momentum)
