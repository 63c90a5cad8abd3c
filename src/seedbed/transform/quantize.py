"""Quantize a decoder: its float weights become packed integers with a scale a group."""

from __future__ import annotations

from seedbed.kernel.packed import pack
from seedbed.models.decoder import Decoder
from seedbed.models.quantized import replace_layers, scheme_by_name


def quantize(model: Decoder, name: str) -> None:
    """Quantize a decoder of any float precision in place, layer by layer. ``name`` is one of SCHEMES.

    What stays (norms, biases, routers of experts) becomes float32. Raises UsageError where there is no such scheme.
    """
    replace_layers(model, scheme_by_name(name), pack)
    for parameter in model.parameters():
        parameter.data = parameter.data.float()
