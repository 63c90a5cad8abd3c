"""Small models and data that the training tests share."""

from typing import Any

import numpy as np

from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.presets import default_model


class Row:
    """A row of tokens in memory, with the face of a shard."""

    def __init__(self, tokens: Any) -> None:
        self.tokens = np.asarray(tokens, dtype=np.uint16)

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, start: int, stop: int) -> Any:
        return self.tokens[start:stop]


def small_config(**changes: Any) -> ModelConfig:
    return default_model(2, 61, 16, **({"d_model": 32, "n_heads": 4, "n_kv_heads": 2} | changes))


def small_model(seed: int = 0, **changes: Any) -> Decoder:
    model = Decoder(small_config(**changes))
    model.initialise(seed)
    return model


def pattern(count: int = 600) -> Row:
    """A sequence that can be learned: each token follows from the one before."""
    return Row([(7 * i * i + i) % 61 for i in range(count)])
