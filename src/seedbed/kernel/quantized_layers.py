"""Linear and embedding layers on packed integer weights, put in from outside: no model knows of them.

A linear layer quantizes its input to int8 in the weights' groups, multiplies integers and scales. On CPUs the kernel
does that; elsewhere PyTorch multiplies the same rounded numbers in float32, which differs in the last bits alone.
Left out: training, and outlier handling as in LLM.int8() (Dettmers et al. 2022).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seedbed.kernel.packed import TILE, Packed, quantize_rows, unpack
from seedbed.kernel.program import linear


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


class QuantizedLinear(_Quantized):
    """``x W^T + b`` with quantized W (n, k)."""

    def __init__(self, packed: Packed, bias: Tensor | None = None) -> None:
        super().__init__(packed)
        self.bias = nn.Parameter(bias.detach(), requires_grad=False) if bias is not None else None

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(…, k) → (…, n), float32."""
        computed = linear(self.packed, x, self.bias)
        return computed if computed is not None else self.reference(x)

    def reference(self, x: Tensor) -> Tensor:
        """Compute the same in PyTorch."""
        quants, scale = quantize_rows(x.float(), self.packed.group)
        return F.linear((quants * scale).flatten(-2)[..., : self.k], unpack(self.packed), self.bias)


class QuantizedEmbedding(_Quantized):
    """Rows of a quantized (n, k) matrix."""

    def forward(self, ids: Tensor) -> Tensor:
        """(…) ids → (…, k). Only the tiles that are used are unpacked."""
        tiles, place = torch.unique(ids // TILE, return_inverse=True)
        part = Packed(self.data[tiles], self.scale[tiles], tiles.numel() * TILE, self.k, self.scheme)
        return unpack(part)[place * TILE + ids % TILE]
