"""8-bit prefilter of a vector search: leave out vectors that cannot be among the best; the result stays exact.

A vector is codes times a scale plus an error of known length, so its product with a query is known up to a bound
(Cauchy-Schwarz). Vectors below the k-th best by more than the bounds are not read in full: a quarter of the memory is
read, and reading takes most of the time. The products of codes are PyTorch's (VNNI where the machine has it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from seedbed.vectors.arrays import Vectors, top_k_bound

_ROUNDING = np.float32(1e-5)  # of the sums themselves


@dataclass(frozen=True)
class Int8Codes:
    """Vectors (n, size) as ``codes * scales + errors``; only the lengths of the errors are kept."""

    codes: Any  # torch int8 (n, size)
    scales: Vectors
    errors: Vectors

    @classmethod
    def of(cls, vectors: Vectors) -> Int8Codes:
        """Encode vectors, in parts because the codes pass through floats."""
        import torch

        parts = [_coded(vectors[at : at + 8192]) for at in range(0, len(vectors), 8192)]
        codes, scales, errors = (np.concatenate(column) for column in zip(*parts, strict=True))
        return cls(torch.from_numpy(codes), scales, errors)

    def candidates(self, query: Vectors, k: int, least: float = -np.inf) -> Any:
        """Return the places, ascending, of vectors whose products with ``query`` may be among the ``k`` highest and
        reach ``least``."""
        import torch

        codes, scales, _ = _coded(query[None])
        products = torch._int_mm(self.codes, torch.from_numpy(codes.T)).numpy()[:, 0]
        found = np.multiply(products, self.scales, dtype=np.float32, casting="unsafe")  # not the double it would be
        found *= scales[0]
        missed = np.float32(np.linalg.norm(query - codes[0] * scales[0]))
        # |qv - cd| <= |q - c| |v| + |c| |v - d|; a stored vector's length is at most 1
        bounds = self.errors * (np.float32(np.linalg.norm(query)) + missed)
        bounds += missed + _ROUNDING
        surest = top_k_bound(found - bounds, k)
        found += bounds
        return np.flatnonzero(found >= max(surest, least))


def _coded(vectors: Vectors) -> tuple[Any, Vectors, Vectors]:
    scales = np.maximum(np.abs(vectors).max(axis=1), np.float32(1e-12)) / np.float32(127)
    codes = np.rint(vectors / scales[:, None]).astype(np.int8)
    errors = np.linalg.norm(vectors - codes * scales[:, None], axis=1)
    return codes, scales.astype(np.float32), errors.astype(np.float32)
