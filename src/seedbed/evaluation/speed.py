"""Speed of a model on this machine: prefill, decoding alone and many at once, against the limit of memory bandwidth.

Decoding one sequence reads every weight once a token, so bandwidth / bytes of weights is a limit that no program
passes; a program near it cannot be made faster but by smaller weights. Prompts are random, so no prefix is ever found.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from seedbed.core.machine import read_bandwidth
from seedbed.inference.engine import Engine
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Request
from seedbed.inference.runners.making import make_runner
from seedbed.models.store import LoadedModel

PROMPT = 16
"""Tokens before decoding is timed."""


@dataclass(frozen=True)
class Speed:
    """Tokens a second, and what bounds them."""

    prefill: float
    decode: float
    together: float
    sequences: int
    weight_bytes: int
    bandwidth: float

    @property
    def limit(self) -> float:
        """Decoding speed at which every weight is read once a token at the measured bandwidth."""
        return self.bandwidth / self.weight_bytes

    @property
    def share(self) -> float:
        """Decoding speed over its limit; above 1 where the weights stay in the processor's cache."""
        return self.decode / self.limit


def measure_speed(loaded: LoadedModel, prompt: int, new: int, sequences: int) -> Speed:
    """Time a prompt of ``prompt`` tokens, ``new`` tokens after a short one, and ``sequences`` of those at once.

    Lengths are cut to the model's window.
    """
    window = loaded.model.config.max_length
    engine = Engine(make_runner(loaded, cache_bytes=2**30), (), speculate=False)  # guesses on random text mean nothing
    prompt, new = min(prompt, window), max(2, min(new, window - PROMPT))
    time_replies(engine, PROMPT, 2, 1)  # the first steps also touch memory for the first time
    first, _ = time_replies(engine, prompt, 1, 1)
    _, alone = time_replies(engine, PROMPT, new, 1)
    _, many = time_replies(engine, PROMPT, new, sequences)
    weights = sum(t.numel() * t.element_size() for t in _read_each_token(loaded))
    decode, together = (new - 1) / alone, sequences * (new - 1) / many
    return Speed(prompt / first, decode, together, sequences, weights, read_bandwidth())


def time_replies(engine: Engine, length: int, new: int, sequences: int) -> tuple[float, float]:
    """Return seconds until ``sequences`` random prompts all have their first token, and on to the last of ``new``.

    Greedy and past every end token. Prompts differ from call to call.
    """
    sampling = Sampling(max_tokens=new, temperature=0.0, seed=0, ignore_end=True)
    prompts = torch.randint(engine.runner.vocab_size, (sequences, length)).tolist()
    started = time.perf_counter()
    for place, prompt in enumerate(prompts):
        engine.add(Request(str(place), tuple(prompt), sampling))
    first, count = 0.0, 0
    while not engine.idle:
        count += len(engine.step())
        if not first and count >= sequences:
            first = time.perf_counter()
    return first - started, time.perf_counter() - first


def _read_each_token(loaded: LoadedModel) -> list[torch.Tensor]:
    """Return the weights that every token reads: an untied input embedding is read one row at a time."""
    tied = loaded.model.config.tied
    tensors = {t.data_ptr(): (name, t) for name, t in loaded.model.state_dict(keep_vars=True).items()}
    return [t for name, t in tensors.values() if tied or not name.startswith("embedding.")]
