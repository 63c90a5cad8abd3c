"""What a model will cost, before it exists: parameters by kind, bytes, FLOPs, training memory.

Counted on the meta device: the real module, no memory. FLOPs follow Kaplan et al. 2020 (table 1) and PaLM (Chowdhery
et al. 2022, appendix B): 6 per matrix parameter and token for forward and backward, plus 12 · layers · heads · head
size · context for attention's two products, halved because a causal position sees half of the context on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder

BYTES = {"float32": 4.0, "bfloat16": 2.0, "int8": 1.0, "int4": 0.5}
"""Bytes a parameter."""

KINDS = ("embedding", "attention", "recurrent", "feed-forward", "norm", "bias")


@dataclass(frozen=True)
class Plan:
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


def plan(config: ModelConfig) -> Plan:
    """Count a model on the meta device."""
    with torch.device("meta"):
        model = Decoder(config)
    counts = dict.fromkeys(KINDS, 0)
    matrices = 0
    for name, parameter in model.named_parameters():  # a tied parameter comes once
        counts[_kind(name)] += parameter.numel()
        if parameter.ndim == 2 and not name.startswith(("embedding.", "position.")):
            matrices += parameter.numel()
    if config.tied:
        matrices += model.embedding.weight.numel()
    attention = sum(config.mixer(layer) in ("attention", "sliding") for layer in range(config.n_layers))
    channels = attention * config.n_heads * config.head_size
    return Plan(counts, matrices, channels, config.max_length)


def _kind(name: str) -> str:
    if "norm" in name:
        return "norm"
    if name.endswith("bias"):
        return "bias"
    if name.startswith(("embedding.", "position.", "output.")):
        return "embedding"
    if ".mixer.cell." in name:
        return "bias" if ".bias_" in name else "recurrent"
    return "attention" if ".mixer." in name else "feed-forward"
