"""Restoring the random state gives the same draws, also through JSON."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import torch

from seedbed.core.randomness import random_state, restore_random_state, seed_everything, versions


def draws() -> list[float]:
    """From every generator, Gaussian ones too: two of the libraries keep every second one for later."""
    return [
        *(random.random() for _ in range(3)),
        random.gauss(0, 1),
        *np.random.random(3),
        np.random.standard_normal(),
        *torch.rand(3).tolist(),
        *torch.randn(3).tolist(),
    ]


@pytest.mark.parametrize("before", [0, 1, 700])
def test_restoring_repeats_the_draws(before: int) -> None:
    seed_everything(5)
    for _ in range(before):
        draws()
    state = random_state()
    wanted = draws()
    tensor = state.pop("torch")
    through_json = {**json.loads(json.dumps({k: v for k, v in state.items() if k != "cuda"})), "torch": tensor}
    seed_everything(6)
    assert draws() != wanted
    assert restore_random_state(through_json) == []
    assert draws() == wanted


def test_the_seed_decides() -> None:
    seed_everything(5)
    first = draws()
    seed_everything(5)
    assert draws() == first
    seed_everything(2**32 + 5)  # more than NumPy takes
    assert draws() != first


def test_other_versions_are_named() -> None:
    state = random_state()
    assert state["versions"] == versions()
    state["versions"] = {**versions(), "numpy": "0.1"}
    assert restore_random_state(state) == ["numpy"]
