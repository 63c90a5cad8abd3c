"""What a recipe will cost, before it runs: parameters, memory, and time from a measured matmul peak."""

from __future__ import annotations

from typing import Any

from seedbed.core.machine import matmul_flops
from seedbed.models.plan import plan
from seedbed.pipeline.recipe import Recipe

UTILISATION = 0.6
"""Share of the matmul peak that training sustains on a CPU (measured 0.55 to 0.9, `docs/log.md`)."""


def estimate(recipe: Recipe) -> dict[str, Any]:
    """Parameters, bytes to train, tokens per second and seconds of pretraining on this machine's CPU."""
    config = recipe.model.config(recipe.tokenizer.vocab_size)
    settings, cost = recipe.pretrain, plan(config)
    speed = matmul_flops() * UTILISATION / cost.flops_per_token()
    step = settings.batch * config.max_length
    tokens = settings.steps * step or settings.tokens
    seconds = tokens / speed if tokens else settings.minutes * 60
    in_flight = (settings.micro_batch or settings.batch) * config.max_length
    return {
        "parameters": cost.total,
        "training_bytes": cost.training_bytes(in_flight, config.d_model, config.n_layers),
        "flops_per_token": cost.flops_per_token(),
        "tokens_per_second": speed,
        "tokens": tokens or speed * seconds,
        "seconds": seconds,
    }
