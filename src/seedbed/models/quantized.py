"""A decoder with quantized layers: its linear layers are replaced by path, its code stays as it is.

In 4-bit schemes the embedding and the output layer keep 8 bits in the same groups: they are looked up or multiplied
once a token and decide much of a small model's quality (llama.cpp keeps them at 6 or 8 bits for the same reason).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from seedbed.core.errors import UsageError
from seedbed.kernel.packed import SCHEMES, Packed, Scheme, empty
from seedbed.kernel.quantized_layers import QuantizedEmbedding, QuantizedLinear
from seedbed.models.decoder import Decoder
from seedbed.models.factory import skeleton


def without_values(model: Decoder, name: str) -> None:
    """Replace layers by quantized ones without values, for a model whose weights are about to be loaded."""
    replace_layers(model, scheme_by_name(name), lambda w, scheme: empty(w.shape[0], w.shape[1], scheme, w.device))


def scheme_by_name(name: str) -> Scheme:
    """Return a scheme by name; raises UsageError if there is none."""
    if name not in SCHEMES:
        raise UsageError(f"there is no quantization {name!r}", why=f"they are {', '.join(SCHEMES)}", fix="choose one")
    return SCHEMES[name]


def replace_layers(model: Decoder, scheme: Scheme, make: Callable[[Tensor, Scheme], Packed]) -> None:
    if not isinstance(model.output, nn.Linear):
        raise UsageError("the model is quantized already", why="quantizing twice loses twice", fix="use the original")
    for block in model.blocks:
        for path, layer in list(block.named_modules()):
            if isinstance(layer, nn.Linear) and not path.endswith("router"):  # which expert is chosen must not change
                block.set_submodule(path, QuantizedLinear(make(layer.weight, scheme), layer.bias))
    table = make(model.embedding.weight, replace(scheme, bits=8))
    head = table if model.config.tied else make(model.output.weight, replace(scheme, bits=8))
    model.set_submodule("embedding", QuantizedEmbedding(table))
    model.set_submodule("output", QuantizedLinear(head, model.output.bias))


def floats_of(model: Decoder, dtype: torch.dtype = torch.float16) -> Decoder:
    """Return a decoder of floats with the values that a quantized one's integers mean."""
    plain = cast(Decoder, skeleton(model.config))
    packed = {
        f"{path}.weight": layer.weight.to(dtype)
        for path, layer in model.named_modules()
        if isinstance(layer, (QuantizedLinear, QuantizedEmbedding))
    }
    kept = {name: value.to(dtype) for name, value in model.named_parameters()}
    plain.load_state_dict(packed | kept, strict=False, assign=True)
    plain.tie()
    return plain.eval()
