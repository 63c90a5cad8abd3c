"""Weight matrices in tiles of 16 output rows, as the kernel reads them: float32, or int8 and int4 in groups.

A tile's 16 rows advance together, one row a vector lane, so the smallest stored unit is 4 inputs (8 for int4) of all 16
rows: 64 bytes. Integers are stored with an offset (128 or 8) because the processor multiplies unsigned by signed.
Each group of inputs of a row has one float16 scale: 8.5 and 4.5 bits a weight with groups of 32.

int8 takes the largest magnitude to 127. int4 takes the group's extreme to -8, so that all 16 levels are used, or
whatever slightly smaller range has the least squared error. Rows and inputs are padded with zeros to whole tiles
and groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TILE = 16
ROW = 0  # a group of this size: all inputs of a row share one scale
_NARROWER = (0.95, 0.9, 0.85, 0.8, 0.75)  # shares of the full int4 range that are tried besides all of it


@dataclass(frozen=True)
class Scheme:
    """Storage of weights. ``group`` inputs share a scale; ROW for all of a row."""

    bits: Literal[8, 4]
    group: int

    @property
    def offset(self) -> int:
        """The number added to a weight's integer."""
        return 128 if self.bits == 8 else 8

    def width(self, k: int) -> int:
        """Return the group's size for k inputs."""
        return self.group or -(-k // 32) * 32


SCHEMES = {
    "int8": Scheme(8, 32),
    "int8-64": Scheme(8, 64),
    "int8-128": Scheme(8, 128),
    "int8-row": Scheme(8, ROW),
    "int4": Scheme(4, 32),
    "int4-64": Scheme(4, 64),
    "int4-128": Scheme(4, 128),
}
"""The choices by name. Activations are quantized to int8 in the same groups while computing."""


@dataclass(frozen=True)
class Packed:
    """A matrix of n outputs and k inputs."""

    data: Tensor  # float32 (tiles, k, 16), or uint8 (tiles, bytes)
    scale: Tensor | None  # float16 (tiles, groups, 16); None for float32
    n: int
    k: int
    scheme: Scheme | None  # None for float32

    @property
    def bits(self) -> int:
        """Bits of one stored weight."""
        return self.scheme.bits if self.scheme else 32

    @property
    def group(self) -> int:
        """Inputs that share a scale; 0 for float32."""
        return self.scheme.width(self.k) if self.scheme else 0


def empty(n: int, k: int, scheme: Scheme, device: torch.device | str | None = None) -> Packed:
    """Return a quantized matrix without values, about to be loaded."""
    tiles, groups = -(-n // TILE), -(-k // scheme.width(k))
    size = groups * scheme.width(k) * TILE * scheme.bits // 8
    data = torch.empty(tiles, size, dtype=torch.uint8, device=device)
    return Packed(data, torch.empty(tiles, groups, TILE, dtype=torch.float16, device=device), n, k, scheme)


def pack_float(weight: Tensor) -> Packed:
    """Put (n, k) float32 weights into tiles."""
    n, k = weight.shape
    tiles = _padded(weight.detach().float(), TILE, 1).view(-1, TILE, k)
    return Packed(tiles.transpose(1, 2).contiguous(), None, n, k, None)


def pack(weight: Tensor, scheme: Scheme) -> Packed:
    """Quantize (n, k) float weights."""
    n, k = weight.shape
    group = scheme.width(k)
    groups = _padded(weight.detach().float(), TILE, group).view(-1, TILE, -(-k // group), group)  # (tiles, 16, G, g)
    scale, quants = _quantize8(groups) if scheme.bits == 8 else _quantize4(groups)
    stored = (quants + scheme.offset).to(torch.uint8).flatten(2)  # (tiles, 16, inputs)
    tiles, width = stored.shape[0], stored.shape[2]
    if scheme.bits == 8:
        data = stored.view(tiles, TILE, width // 4, 4).transpose(1, 2)
    else:
        eights = stored.view(tiles, TILE, width // 8, 2, 4)
        data = (eights[:, :, :, 0] | eights[:, :, :, 1] << 4).transpose(1, 2)
    return Packed(data.reshape(tiles, -1), scale.transpose(1, 2).contiguous(), n, k, scheme)


def unpack(packed: Packed) -> Tensor:
    """Return the (n, k) float32 matrix that the stored numbers mean."""
    if packed.scheme is None or packed.scale is None:
        return packed.data.transpose(1, 2).reshape(-1, packed.k)[: packed.n]
    tiles = packed.data.shape[0]
    if packed.bits == 8:
        quants = packed.data.view(tiles, -1, TILE, 4).transpose(1, 2).reshape(tiles, TILE, -1)
    else:
        both = packed.data.view(tiles, -1, TILE, 4).transpose(1, 2)  # (tiles, 16, eights, 4)
        quants = torch.stack([both & 15, both >> 4], 3).reshape(tiles, TILE, -1)
    values = quants.float().sub_(packed.scheme.offset).view(tiles, TILE, -1, packed.group)
    values *= packed.scale.float().transpose(1, 2)[..., None]
    return values.reshape(tiles * TILE, -1)[: packed.n, : packed.k]


def quantize_rows(x: Tensor, group: int) -> tuple[Tensor, Tensor]:
    """Quantize activations (…, k) as the kernel does: integers (…, G, g) and scales (…, G, 1), float32."""
    padded = torch.nn.functional.pad(x, (0, -x.shape[-1] % group)).view(*x.shape[:-1], -1, group)
    largest = padded.abs().amax(-1, keepdim=True)
    # 127 / x would be 127 times 1 / x, rounded
    inverse = torch.where(largest > 0, largest.new_tensor(127) / largest, 0)
    return (padded * inverse).round(), largest / 127


def _quantize8(groups: Tensor) -> tuple[Tensor, Tensor]:
    scale = (groups.abs().amax(-1) / 127).half()  # (tiles, 16, G)
    return scale, _rounded(groups, scale, -127, 127)


def _quantize4(groups: Tensor) -> tuple[Tensor, Tensor]:
    extreme = groups.gather(-1, groups.abs().argmax(-1, keepdim=True)).squeeze(-1)

    def tried(share: float) -> tuple[Tensor, Tensor, Tensor]:
        scale = (extreme * (share / -8)).half()
        quants = _rounded(groups, scale, -8, 7)
        return scale, quants, (quants * scale.float()[..., None] - groups).square_().sum(-1)

    best_scale, best_quants, least = tried(1.0)
    for scale, quants, error in map(tried, _NARROWER):
        better = error < least
        best_scale, least = torch.where(better, scale, best_scale), torch.where(better, error, least)
        best_quants = torch.where(better[..., None], quants, best_quants)
    return best_scale, best_quants


def _rounded(groups: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    inverse = torch.where(scale != 0, 1 / scale.float(), 0)[..., None]
    return (groups * inverse).round_().clamp_(low, high)


def _padded(weight: Tensor, rows: int, columns: int) -> Tensor:
    n, k = weight.shape
    return torch.nn.functional.pad(weight, (0, -k % columns, 0, -n % rows))
