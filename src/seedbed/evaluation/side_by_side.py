"""Speed of two models side by side: timed in turn, so that other load on the machine slows both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from seedbed.evaluation.speed import PROMPT, time_replies
from seedbed.inference.engine import Engine
from seedbed.inference.runners.making import make_runner
from seedbed.models.store import LoadedModel

SECONDS, ROUNDS = 8.0, 5
"""Rounds go on for so long, and at least so many: a small model's round is over in milliseconds."""
_LONG, _NEW = 256, 32
"""Tokens of the prompt whose reading is timed, and tokens that are decoded."""


@dataclass(frozen=True)
class Pace:
    """Medians of one model, tokens per second."""

    prefill: float
    decode: float


def measure_side_by_side(models: Sequence[LoadedModel]) -> list[Pace]:
    """Time each model in every round; lengths are cut to the shortest window."""
    window = min(loaded.model.config.max_length for loaded in models)
    prompt, new = min(_LONG, window - 1), max(2, min(_NEW + 1, window - PROMPT))
    engines = [Engine(make_runner(loaded, cache_bytes=2**28), (), speculate=False) for loaded in models]
    for engine in engines:
        time_replies(engine, min(PROMPT, prompt), 2, 1)  # the first steps also touch memory for the first time
    prefill: list[list[float]] = [[] for _ in models]
    decode: list[list[float]] = [[] for _ in models]
    started = time.perf_counter()
    while len(prefill[0]) < ROUNDS or time.perf_counter() - started < SECONDS:
        for place, engine in enumerate(engines):
            prefill[place].append(prompt / time_replies(engine, prompt, 1, 1)[0])
            decode[place].append((new - 1) / time_replies(engine, PROMPT, new, 1)[1])
    medians = zip(map(statistics.median, prefill), map(statistics.median, decode), strict=True)
    return [Pace(*pair) for pair in medians]
