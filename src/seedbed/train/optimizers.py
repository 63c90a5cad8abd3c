"""The optimizers of a model: matrices by Muon or AdamW, the rest by AdamW; their state as tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from seedbed.train.muon import Muon
from seedbed.train.settings import TrainSettings


class Optimizers:
    """The optimizers of a run as one: step, clear, set the learning rate, save, restore."""

    def __init__(self, model: nn.Module, settings: TrainSettings) -> None:
        named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
        matrices = [p for name, p in named if is_matrix(name, p)]
        others = [p for name, p in named if not is_matrix(name, p)]
        self.names = {id(parameter): name for name, parameter in named}
        betas = (settings.beta1, settings.beta2)
        self.parts: list[torch.optim.Optimizer] = []
        if settings.optimizer == "muon":
            if matrices:
                self.parts.append(Muon(matrices, settings.lr, settings.momentum, settings.weight_decay))
            rest = [{"params": others, "lr": settings.lr_embedding, "weight_decay": 0.0}]
        else:
            rest = [
                {"params": matrices, "lr": settings.lr, "weight_decay": settings.weight_decay},
                {"params": others, "lr": settings.lr, "weight_decay": 0.0},
            ]
        rest = [group for group in rest if group["params"]]
        if rest:
            self.parts.append(torch.optim.AdamW(rest, betas=betas, eps=1e-10, fused=True))
        self.peaks = [[group["lr"] for group in part.param_groups] for part in self.parts]

    def step(self) -> None:
        """Update all parameters."""
        for part in self.parts:
            part.step()

    def clear(self) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def set_learning_rate(self, factor: float) -> None:
        """Set every group's learning rate to ``factor`` times its peak."""
        for part, peaks in zip(self.parts, self.peaks, strict=True):
            for group, peak in zip(part.param_groups, peaks, strict=True):
                group["lr"] = peak * factor

    def tensors(self) -> dict[str, Tensor]:
        """All state by ``parameter/key``."""
        return {
            f"{self.names[id(parameter)]}/{key}": value
            for part in self.parts
            for parameter, state in part.state.items()
            for key, value in state.items()
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what :meth:`tensors` gave."""
        by_name: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            parameter, _, key = name.rpartition("/")
            by_name.setdefault(parameter, {})[key] = value
        for part in self.parts:
            for parameter in (one for group in part.param_groups for one in group["params"]):
                stored = by_name.get(self.names[id(parameter)])
                if stored is not None:
                    part.state[parameter] = {
                        key: value.clone() if key == "step" else value.to(parameter.device, copy=True)
                        for key, value in stored.items()
                    }


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Tell whether a parameter is a weight matrix of a block (embeddings are tables: they multiply nothing)."""
    return parameter.ndim == 2 and ".blocks." in f".{name}"
