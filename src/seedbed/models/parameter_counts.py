"""What a model is made of: parameters by kind, which of them are shared, and how much of it one token needs.

Counted on the meta device from the configuration: the real modules, no memory, no weights read.
"""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.models.config import AnyConfig, ModelConfig
from seedbed.models.factory import skeleton
from seedbed.models.stack import attends
from seedbed.models.training_cost import active_share, looked_up, plan


@dataclass(frozen=True)
class Anatomy:
    """Counts of a model.

    Attributes:
        parameters: by kind; a shared one comes once.
        shared: name → the parameter that it is.
        read: parameters that are read for one token: no rows of tables that are only looked up, active experts only.
        largest: parameters of the largest tensor.
        cache: numbers that attention keeps for one position, over all layers that keep every position.
        window_cache: numbers that sliding-window layers keep in all.
        context: longest context.
        generates: whether it writes text, token by token.
    """

    parameters: dict[str, int]
    shared: dict[str, str]
    read: int
    largest: int
    cache: int
    window_cache: int
    context: int
    generates: bool

    @property
    def total(self) -> int:
        """All parameters."""
        return sum(self.parameters.values())

    def cached(self, context: int) -> int:
        """Numbers that attention keeps for a context of so many tokens."""
        return self.cache * context + self.window_cache


def anatomy(config: AnyConfig) -> Anatomy:
    """Take a model apart."""
    model = skeleton(config)
    shared = dict(model.shared())
    read, largest = 0.0, 0
    for name, parameter in model.named_parameters():
        largest = max(largest, parameter.numel())
        if name in shared.values() and any("out" in other for other, own in shared.items() if own == name):
            read += parameter.numel()  # the output layer multiplies it
        elif not looked_up(name):
            read += parameter.numel() * active_share(config, name)
    decoder = config if isinstance(config, ModelConfig) else config.decoder
    every, windowed = _cache(decoder)
    generates = decoder.head == "lm" and decoder.causal
    return Anatomy(
        plan(config).parameters, shared, round(read), largest, every, windowed, decoder.max_length, generates
    )


def _cache(config: ModelConfig) -> tuple[int, int]:
    """Keys and values of one position in layers that keep all, and of all positions in those with a window."""
    one = 2 * config.kv_heads * config.head_size
    kinds = [config.mixer(layer) for layer in range(config.n_layers)]
    sliding = sum(kind == "sliding" for kind in kinds)
    every = sum(attends(kind) for kind in kinds) - sliding
    return every * one, sliding * one * min(config.window or 0, config.max_length)
