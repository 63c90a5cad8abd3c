"""Parameter counts, FLOPs and memory of a model, from its configuration: the real module on the meta device, no memory.

FLOPs follow Kaplan et al. 2020 (table 1) and PaLM (Chowdhery et al. 2022, appendix B): 6 per matrix parameter and token
for forward and backward, plus 12 · layers · heads · head size · context for attention's two products, halved because a
causal position sees half of the context on average.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from seedbed.models.config import AnyConfig, ModelConfig, stacks
from seedbed.models.factory import skeleton
from seedbed.models.stack import attends

BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}  # bytes a parameter
KINDS = ("embedding", "attention", "recurrent", "feed-forward", "norm", "bias", "head")
_TABLES = {"embedding", "position", "segment", "relative"}
"""Parts whose weight is read row by row and multiplies nothing."""


@dataclass(frozen=True)
class ParameterCounts:
    """The parameters of a model, and how many of them one token needs."""

    parameters: dict[str, int]  # by kind; biases are a kind of their own, a tied parameter counts once
    read: int  # parameters read for one token: no rows of tables that are only looked up, active experts only
    largest: int  # parameters of the largest tensor
    cache: int  # keys and values of one position, in numbers, over all layers that keep every position
    window_cache: int  # keys and values of all sliding-window layers, in numbers
    context: int  # longest context
    generates: bool  # whether it writes text, token by token
    tied: dict[str, str] = field(default_factory=dict)  # name → the parameter that it shares
    matrix_parameters: int = 0  # those of ``read`` that are matrices, which multiply every token
    attention_channels: int = 0  # layers · heads · head size, for attention's own FLOPs

    @property
    def total(self) -> int:
        """All parameters; tied ones once."""
        return sum(self.parameters.values())

    def cached(self, context: int) -> int:
        """Return how many numbers attention keeps for a context of so many tokens."""
        return self.cache * context + self.window_cache

    def weight_bytes(self, precision: str) -> float:
        """Return the bytes of the weights alone."""
        return self.total * BYTES[precision]

    def flops_per_token(self, *, training: bool = True, context: int | None = None) -> float:
        """Return the FLOPs of one token at a given context length."""
        forward = 2 * self.matrix_parameters + 2 * self.attention_channels * (context or self.context)
        return float(forward * (3 if training else 1))

    def training_bytes(self, tokens: int, width: int, layers: int, precision: str = "float32") -> float:
        """Return the bytes of weights, gradients, AdamW's two moments in float32, and activations of ``tokens`` tokens.

        Activations: about 34 bytes at 16 bits for every channel, token and layer (Korthikanti et al. 2022, eq. 1,
        without the attention matrix, which fused kernels never store).
        """
        return self.total * 16.0 + tokens * width * layers * 34 / 2 * BYTES[precision]


def count_parameters(config: AnyConfig) -> ParameterCounts:
    """Count a model's parameters in one walk over its modules on the meta device."""
    model = skeleton(config)
    tied = dict(model.shared())
    multiplied = {owner for name, owner in tied.items() if "out" in name}  # tables that are the output layer too
    counts, read, matrices, largest = dict.fromkeys(KINDS, 0), 0.0, 0, 0
    for name, parameter in model.named_parameters():  # a tied parameter comes once
        size = parameter.numel()
        counts[_kind(name)] += size
        largest = max(largest, size)
        used = size * _used_share(config, tied.get(name, name), multiplied)
        read += used
        matrices += round(used) if parameter.ndim == 2 else 0
    last, channels = stacks(config)[-1], sum(map(_attention_channels, stacks(config)))
    generates = last.head == "lm" and last.causal
    return ParameterCounts(
        counts, round(read), largest, *_cache(last), last.max_length, generates, tied, matrices, channels
    )


def _used_share(config: AnyConfig, name: str, multiplied: Collection[str]) -> float:
    """Return the share of a parameter that one token needs: none of a looked-up table, the active ones of experts."""
    if _looked_up(name):
        return float(name in multiplied)
    experts = stacks(config)[-1].experts
    return experts.active / experts.count if experts is not None and ".experts." in name else 1.0


def _looked_up(name: str) -> bool:
    return not _TABLES.isdisjoint(name.split("."))


def _attention_channels(config: ModelConfig) -> int:
    layers = sum(attends(config.mixer(layer)) for layer in range(config.n_layers))
    return layers * (1 + config.cross) * config.n_heads * config.head_size


def _cache(config: ModelConfig) -> tuple[int, int]:
    """Return keys and values of one position in layers that keep all, and of all positions in those with a window."""
    one = 2 * config.kv_heads * config.head_size
    kinds = [config.mixer(layer) for layer in range(config.n_layers)]
    sliding = sum(kind == "sliding" for kind in kinds)
    every = sum(attends(kind) for kind in kinds) - sliding
    return every * one, sliding * one * min(config.window or 0, config.max_length)


def _kind(name: str) -> str:
    if "norm" in name:
        return "norm"
    if name.endswith("bias"):
        return "bias"
    if _looked_up(name) or ".blocks." not in f".{name}":
        return "embedding" if not name.startswith("head.") else "head"
    if ".mixer.cell." in name:
        return "bias" if ".bias_" in name else "recurrent"
    return "attention" if ".mixer." in name or ".cross." in name else "feed-forward"
