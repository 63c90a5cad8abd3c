"""Tiny models with large random weights, so that what they predict differs from token to token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def make_decoder() -> Callable[..., Decoder]:
    def make(**changes: Any) -> Decoder:
        shape = {"vocab_size": 50, "d_model": 32, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "max_length": 160}
        model = Decoder(ModelConfig(**{**shape, **changes})).eval()
        generator = torch.Generator().manual_seed(5)
        for parameter in model.parameters():
            parameter.data.normal_(0.0, 0.3, generator=generator)
        return model

    return make
