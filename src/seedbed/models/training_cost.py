"""What a model will cost, before it exists: parameters by kind, bytes, FLOPs, training memory.

Counted on the meta device: the real module, no memory. FLOPs follow Kaplan et al. 2020 (table 1) and PaLM (Chowdhery
et al. 2022, appendix B): 6 per matrix parameter and token for forward and backward, plus 12 · layers · heads · head
size · context for attention's two products, halved because a causal position sees half of the context on average.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import Parameter

from seedbed.models.config import AnyConfig, ModelConfig, stacks
from seedbed.models.factory import AnyModel, skeleton
from seedbed.models.stack import attends

BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes a parameter."""

KINDS = ("embedding", "attention", "recurrent", "feed-forward", "norm", "bias", "head")


@dataclass(frozen=True)
class TrainingCost:
    """The cost of a model.

    Attributes:
        parameters: count by kind; biases are a kind of their own.
        matrix_parameters: those multiplied for every token (the output embedding counts, the input one does not).
        attention_channels: layers · heads · head size, for attention's own FLOPs.
    """

    parameters: dict[str, int]
    matrix_parameters: int
    attention_channels: int
    context: int

    @property
    def total(self) -> int:
        """All parameters; tied ones once."""
        return sum(self.parameters.values())

    def weight_bytes(self, precision: str) -> float:
        """Bytes of the weights alone."""
        return self.total * BYTES[precision]

    def flops_per_token(self, *, training: bool = True, context: int | None = None) -> float:
        """FLOPs for one token at a given context length."""
        forward = 2 * self.matrix_parameters + 2 * self.attention_channels * (context or self.context)
        return float(forward * (3 if training else 1))

    def training_bytes(self, tokens: int, width: int, layers: int, precision: str = "float32") -> float:
        """Weights, gradients and AdamW's two moments in float32, plus activations of ``tokens`` tokens in flight.

        Activations: about 34 bytes at 16 bits for every channel, token and layer (Korthikanti et al. 2022, eq. 1,
        without the attention matrix, which fused kernels never store).
        """
        return self.total * 16.0 + tokens * width * layers * 34 / 2 * BYTES[precision]


def plan(config: AnyConfig) -> TrainingCost:
    """Count a model on the meta device."""
    model = skeleton(config)
    shared = set(model.shared())
    counts = dict.fromkeys(KINDS, 0)
    matrices = 0
    for name, parameter in model.named_parameters():  # a tied parameter comes once
        counts[_kind(name)] += parameter.numel()
        if parameter.ndim == 2 and not looked_up(name):
            matrices += round(parameter.numel() * active_share(config, name))
    matrices += sum(parameter.numel() for name, parameter in _all_parameters(model) if name in shared and "out" in name)
    parts = stacks(config)
    return TrainingCost(counts, matrices, sum(map(_attention_channels, parts)), parts[-1].max_length)


def _all_parameters(model: AnyModel) -> list[tuple[str, Parameter]]:
    return list(model.named_parameters(remove_duplicate=False))


def _attention_channels(config: ModelConfig) -> int:
    layers = sum(attends(config.mixer(layer)) for layer in range(config.n_layers))
    return layers * (1 + config.cross) * config.n_heads * config.head_size


def active_share(config: AnyConfig, name: str) -> float:
    """The share of a matrix's positions that go through it: of experts, only a few are active."""
    experts = stacks(config)[-1].experts
    return experts.active / experts.count if experts is not None and ".experts." in name else 1.0


def looked_up(name: str) -> bool:
    """Whether a table is read row by row and multiplies nothing."""
    return any(part in name.split(".") for part in ("embedding", "position", "segment", "relative"))


def _kind(name: str) -> str:
    if "norm" in name:
        return "norm"
    if name.endswith("bias"):
        return "bias"
    if looked_up(name) or ".blocks." not in f".{name}":
        return "embedding" if not name.startswith("head.") else "head"
    if ".mixer.cell." in name:
        return "bias" if ".bias_" in name else "recurrent"
    return "attention" if ".mixer." in name or ".cross." in name else "feed-forward"
