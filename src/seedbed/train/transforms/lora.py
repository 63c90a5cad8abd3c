"""Train low-rank additions instead of the weights (LoRA); afterwards they are in the weights, and stored apart too.

A quantized model stays as it is while additions beside its integers are trained (QLoRA); afterwards its layers are
rounded again with the additions in them, and the additions stand apart exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from seedbed.core.config import setting
from seedbed.formats.peft_format import write_additions
from seedbed.nn.lora import add_low_rank, additions, fold
from seedbed.train.contracts import ModelTransform


@dataclass(frozen=True)
class LoraTransform(ModelTransform):
    """Low-rank additions to every linear layer of the blocks: optimizer and checkpoints hold them alone."""

    rank: int = setting(8, "rank of the additions", at_least=1)
    alpha: float = setting(16.0, "the additions count alpha / rank times", at_least=0)

    def apply(self, model: nn.Module, seed: int) -> None:
        """Freeze the model and add what is trained."""
        add_low_rank(model, self.rank, self.alpha, seed)

    def finish(self, model: nn.Module) -> Callable[[Path], None]:
        """Fold the additions into the weights; return a writer of them in PEFT's format."""
        parts = additions(model)
        fold(model)
        return partial(write_additions, parts=parts, rank=self.rank, alpha=self.alpha)
