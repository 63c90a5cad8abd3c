"""Sparse rows as arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seedbed.vectors.lsa import SparseRow, Vectors


def dense(rows: Sequence[SparseRow], width: int) -> Vectors:
    """Rows (N, width), with zeros."""
    found = np.zeros((len(rows), width), np.float32)
    for row, (columns, values) in zip(found, rows, strict=True):
        row[columns] = values
    return found
