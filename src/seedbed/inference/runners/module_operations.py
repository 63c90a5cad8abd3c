"""Modules as operations of the CPU kernel: linear layers, norms, low-rank additions, for ``decoder_program.py``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from seedbed.kernel.packed import TILE, Packed, pack_float
from seedbed.kernel.program import AdapterStruct, Flag, Kind, Program
from seedbed.kernel.quantized_layers import QuantizedEmbedding, QuantizedLinear
from seedbed.nn.attention import Attention
from seedbed.nn.lora import LowRank
from seedbed.nn.norm import RMSNorm

Adapters = Sequence[Mapping[str, LowRank]]
Layers = Mapping[str, tuple[nn.Module, Tensor]]
"""Linear layers that read the same, by the last part of their path, and where each writes."""


class Operations:
    """A program that modules are appended to; sources and targets are row buffers or columns of them.

    Low-rank additions are by layer path; a row names an adapter by its place. Scratch memory is made for ``matrices``.
    """

    def __init__(self, adapters: Adapters, matrices: list[Packed]) -> None:
        self.program, self.adapters, self.matrices = Program(), adapters, matrices

    def linear(self, name: str, layer: nn.Module, source: Tensor, target: Tensor, flags: int = 0, **route: Any) -> None:
        """``target = W source + b``, or added to it with Flag.ADD. ``route``: the expert whose rows these are."""
        self.multiply(packed_of(layer), _bias(layer), source, target, flags)
        self._adapt(name, source, target, **route)

    def multiply(self, packed: Packed, bias: Tensor | None, source: Tensor, target: Tensor, flags: int = 0) -> None:
        """Append ``linear`` without low-rank additions."""
        self.matrices.append(packed)
        self.program.add_linear(packed, flags, bias=bias, **self._rows(source, target))

    def parallel(self, name: str, layers: Layers, source: Tensor, **route: Any) -> None:
        """Append layers with one input: it is quantized once, and nothing waits between them."""
        last = list(layers)[-1]
        for place, (part, (layer, target)) in enumerate(layers.items()):
            flags = (Flag.REUSE_INPUT if place else 0) | (Flag.NO_BARRIER if part != last else 0)
            self.multiply(packed_of(layer), _bias(layer), source, target, flags)
        for part, (_, target) in layers.items():
            self._adapt(f"{name}.{part}", source, target, **route)

    def norm(self, norm: nn.Module, source: Tensor, target: Tensor, flags: int = 0) -> None:
        """``target = norm(source)``, or added to it with Flag.ADD."""
        if isinstance(norm, nn.Identity):
            return
        own, fields = norm_fields(norm)
        self.add(Kind.NORM, source, target, flags | own, k=fields["weight"].numel(), **fields)

    def scale(self, values: Tensor, count: int, factor: float | None, cap: float | None) -> None:
        """Append: multiply the first ``count`` of each row by a factor, and cap them; nothing without both."""
        if factor is not None or cap:
            self.add(Kind.SCALE, values, values, n=count, factor=1.0 if factor is None else factor, cap=cap or 0.0)

    def add(self, kind: Kind, source: Tensor, target: Tensor, flags: int = 0, **fields: Any) -> None:
        """Append any operation from rows to rows."""
        self.program.add(kind, flags, **fields, **self._rows(source, target))

    def _adapt(self, name: str, source: Tensor, target: Tensor, **route: Any) -> None:
        """Append the adapters' additions to the layer just computed; those without a part for it have rank 0."""
        parts = [adapter.get(name) for adapter in self.adapters]
        some = next((part for part in parts if part is not None), None)
        if some is None:
            return
        structs = (AdapterStruct * len(parts))()
        for place, part in enumerate(parts):
            if part is not None:
                pointers = self.program.pointer(part.down), self.program.pointer(part.up)
                structs[place] = AdapterStruct(*pointers, part.down.shape[0], part.scale)
        fields = {"n": some.up.shape[0], "k": some.down.shape[1], "adapters": self.program.structure(structs), **route}
        self.add(Kind.ADAPT, source, target, **fields)

    def _rows(self, source: Tensor, target: Tensor) -> dict[str, Any]:
        """Return the addresses of two buffers and their strides from row to row."""
        self.program.kept += source, target
        addresses = {"source": source.data_ptr(), "target": target.data_ptr()}
        return {"in_stride": source.stride(0), "out_stride": target.stride(0), **addresses}


def packed_of(layer: nn.Module) -> Packed:
    """Return a layer's weights in tiles: quantized ones as they are, float ones in the kernel's order."""
    if isinstance(layer, (QuantizedLinear, QuantizedEmbedding)):
        return layer.packed
    assert isinstance(layer, (nn.Linear, nn.Embedding))
    return pack_float(layer.weight)


def norm_fields(norm: nn.Module) -> tuple[int, dict[str, Any]]:
    """Return a norm's flags, and its fields of an operation."""
    assert isinstance(norm, (RMSNorm, nn.LayerNorm))
    if isinstance(norm, RMSNorm):
        return 0, {"weight": as_float(norm.gain), "bias": None, "eps": norm.eps}
    gain = as_float(norm.weight) if norm.elementwise_affine else torch.ones(norm.normalized_shape)
    return Flag.LAYER_NORM, {"weight": gain, "bias": _bias(norm), "eps": norm.eps}


def head_norms(attention: Attention) -> dict[str, Any]:
    """Return the norms of queries and keys, as fields of an operation."""
    if attention.q_norm is None or attention.k_norm is None:
        return {}
    flags, q = norm_fields(attention.q_norm)
    _, k = norm_fields(attention.k_norm)
    weights = {"extra": q["weight"], "extra2": k["weight"], "extra3": q["bias"], "extra4": k["bias"]}
    return {"flags": flags, "eps": q["eps"], **weights}


def as_float(values: Tensor) -> Tensor:
    """Return values as the kernel reads vectors and tables: float32, contiguous."""
    return values.detach().float().contiguous()


def up(size: int) -> int:
    """Round up to whole vectors."""
    return -(-size // TILE) * TILE


def rows_of(count: int, width: int) -> Tensor:
    """Allocate a buffer of rows."""
    return torch.zeros(count, up(width))


def _bias(layer: nn.Module) -> Tensor | None:
    return as_float(layer.bias) if isinstance(layer.bias, Tensor) else None
