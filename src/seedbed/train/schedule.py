"""The learning rate over a run, as a factor of its peak."""

from __future__ import annotations

import math

from seedbed.train.settings import TrainSettings


def learning_rate(step: int, share: float, settings: TrainSettings) -> float:
    """The factor for step ``step`` (from 0), when a share of the run's steps or of its time is over.

    Cosine: SGDR, Loshchilov & Hutter 2017, eq. 5. Warm-up-stable-decay: Hu et al. 2024 (MiniCPM), linear decay.
    """
    warm = min(1.0, (step + 1) / settings.warmup) if settings.warmup else 1.0
    left = max(0.0, 1 - share)  # 1 at the start, 0 at the end
    if settings.schedule == "wsd":
        shape = min(1.0, left / settings.decay) if settings.decay else 1.0
    elif settings.schedule == "cosine":
        shape = 0.5 * (1 + math.cos(math.pi * (1 - left)))
    else:
        shape = left
    return warm * (settings.final_lr + (1 - settings.final_lr) * shape)
