"""The settings of one training stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from seedbed.core.config import setting

OptimizerKind = Literal["muon", "adamw"]
ScheduleKind = Literal["wsd", "cosine", "linear"]
Precision = Literal["auto", "fast", "float32", "bfloat16"]


@dataclass(frozen=True)
class TrainSettings:
    """The settings of a training stage; of steps, tokens, epochs and minutes the first that is set is its length."""

    steps: int = setting(0, "length of the run", unit="steps", at_least=0)
    tokens: int = setting(0, "length of the run", unit="tokens", at_least=0)
    epochs: float = setting(0.0, "length of the run", unit="times through the data", at_least=0)
    minutes: float = setting(0.0, "length of the run; the learning rate follows the clock", unit="minutes", at_least=0)
    batch: int = setting(16, "sequences in a step", unit="sequences", at_least=1)
    micro_batch: int = setting(0, "sequences in one forward pass; 0: all of a step", unit="sequences", at_least=0)
    optimizer: OptimizerKind = setting("muon", "Muon for matrices with AdamW for the rest, or AdamW for all")
    lr: float = setting(0.02, "peak learning rate of the matrices (AdamW alone wants about 0.001)", at_least=0)
    lr_embedding: float = setting(0.02, "peak learning rate of embeddings, gains and biases with Muon", at_least=0)
    beta1: float = setting(0.9, "AdamW's decay of the gradient's mean", at_least=0, at_most=1)
    beta2: float = setting(0.95, "AdamW's decay of the gradient's square", at_least=0, at_most=1)
    momentum: float = setting(0.95, "Muon's momentum", at_least=0, at_most=1)
    weight_decay: float = setting(0.0, "decoupled weight decay (L2) of matrices", at_least=0)
    l1: float = setting(0.0, "factor of the sum of absolute matrix weights in the loss (L1)", at_least=0)
    clip: float = setting(1.0, "largest gradient norm; 0: no clipping", at_least=0)
    schedule: ScheduleKind = setting("wsd", "shape of the learning rate: warm-up-stable-decay, cosine or linear")
    warmup: int = setting(20, "steps from zero to the peak", unit="steps", at_least=0)
    decay: float = setting(0.5, "share of the run in which wsd falls", at_least=0, at_most=1)
    final_lr: float = setting(0.0, "learning rate at the end, as a share of the peak", at_least=0, at_most=1)
    precision: Precision = setting(
        "auto", "auto: bfloat16 on GPUs that have it, float32 on CPUs; fast: bfloat16 also on CPUs that multiply it"
    )
    compile: bool = setting(False, "torch.compile the model (worth it on GPUs)")
    checkpoint_activations: bool = setting(False, "recompute activations backwards: less memory, a third more time")
    evaluate_every: int = setting(100, "steps between validations; 0: none", unit="steps", at_least=0)
    evaluate_batches: int = setting(8, "validation batches", unit="batches", at_least=1)
    sample_seconds: float = setting(15.0, "seconds between live samples; 0: none", unit="seconds", at_least=0)
    save_every: int = setting(100, "steps between checkpoints; 0: only when interrupted", unit="steps", at_least=0)
    patience: int = setting(0, "stop after so many validations without a better one; 0: never", at_least=0)
    keep_best: bool = setting(False, "end with the weights of the best validation, not the last")
    seed: int = setting(0, "seed of weights, data order and dropout", at_least=0)

    def __post_init__(self) -> None:
        fixed = self.steps or self.tokens or self.epochs
        if not (fixed or self.minutes):
            raise ValueError("none of steps, tokens, epochs and minutes is set")
        if (self.patience or self.keep_best) and not self.evaluate_every:
            raise ValueError("patience and keep_best need evaluate_every")
        if self.micro_batch and self.batch % self.micro_batch:
            raise ValueError(f"batch {self.batch} is not a multiple of micro_batch {self.micro_batch}")
