"""Linear and embedding layers on packed integer weights, put in from outside: no model knows of them.

A linear layer quantizes its input to int8 in the weights' groups, multiplies integers and scales. On CPUs the kernel
does that; elsewhere PyTorch multiplies the same rounded numbers in float32, which differs in the last bits alone.
Where a gradient is asked for, the input stays as it is and the weights become floats for one product at a time, so that
additions beside frozen integers can be trained (QLoRA, Dettmers et al. 2023, equation 5). Left out: training the
integers, and outlier handling as in LLM.int8() (Dettmers et al. 2022).
"""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.kernel.packed import TILE, Packed, pack, quantize_rows, unpack
from seedbed.kernel.program import linear, table


class _Quantized(nn.Module):
    """Holds a packed (n, k) matrix in two buffers."""

    data: Tensor
    scale: Tensor

    def __init__(self, packed: Packed) -> None:
        super().__init__()
        if packed.scheme is None or packed.scale is None:
            raise ValueError("a quantized layer needs quantized weights")
        self.n, self.k, self.scheme = packed.n, packed.k, packed.scheme
        self.register_buffer("data", packed.data)
        self.register_buffer("scale", packed.scale)

    @property
    def packed(self) -> Packed:
        """The weights."""
        return Packed(self.data, self.scale, self.n, self.k, self.scheme)

    @property
    def weight(self) -> Tensor:
        """The (n, k) float32 matrix that the stored numbers mean, made anew."""
        return self.weight_as(torch.float32)

    def weight_as(self, dtype: torch.dtype) -> Tensor:
        """Return :attr:`weight` in another type; bfloat16 is made without float32 in between."""
        made = table(self.packed, dtype) if dtype in (torch.float32, torch.bfloat16) else None
        return unpack(self.packed).to(dtype) if made is None else made


class QuantizedLinear(_Quantized):
    """``x W^T + b`` with quantized W (n, k)."""

    def __init__(self, packed: Packed, bias: Tensor | None = None) -> None:
        super().__init__(packed)
        self.bias = nn.Parameter(bias.detach(), requires_grad=False) if bias is not None else None
        self.in_features, self.out_features = packed.k, packed.n

    def forward(self, x: Tensor) -> Tensor:
        """(…, k) → (…, n), float32; where ``x`` has a gradient as :meth:`exact`."""
        if torch.is_grad_enabled() and x.requires_grad:
            return self.exact(x)
        with torch.no_grad():
            computed = linear(self.packed, x, self.bias)
            return computed if computed is not None else self.reference(x)

    def exact(self, x: Tensor) -> Tensor:
        """(…, k) → (…, n) with ``x`` as it is and its gradient, in the precision of autocast if that is on."""
        return cast(Tensor, _FrozenProduct.apply(x, self))  # type: ignore[no-untyped-call]

    def plus(self, change: Tensor) -> QuantizedLinear:
        """Return a layer whose weights are these and a change (n, k), quantized again."""
        return QuantizedLinear(pack(self.weight + change, self.scheme), self.bias)

    def reference(self, x: Tensor) -> Tensor:
        """Compute the same in PyTorch."""
        quants, scale = quantize_rows(x.float(), self.packed.group)
        return F.linear((quants * scale).flatten(-2)[..., : self.k], unpack(self.packed), self.bias)


class _FrozenProduct(torch.autograd.Function):
    """``x W^T + b`` for integer W, with the gradient of x alone; W becomes floats forwards and again backwards."""

    @staticmethod
    def forward(context: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        kind = x.device.type
        context.dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        context.layer, context.given = layer, x.dtype
        bias = None if layer.bias is None else layer.bias.to(context.dtype)
        return F.linear(x.to(context.dtype), layer.weight_as(context.dtype), bias)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        weight = context.layer.weight_as(context.dtype)
        return (gradient.to(context.dtype) @ weight).to(context.given), None


class QuantizedEmbedding(_Quantized):
    """Rows of a quantized (n, k) matrix."""

    def forward(self, ids: Tensor) -> Tensor:
        """(…) ids → (…, k). Only the tiles that are used are unpacked."""
        tiles, place = torch.unique(ids // TILE, return_inverse=True)
        part = Packed(self.data[tiles], self.scale[tiles], tiles.numel() * TILE, self.k, self.scheme)
        return unpack(part)[place * TILE + ids % TILE]
