"""The table of a report: one line a method, with its error bar and the bits that the model saves against it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seedbed.evaluation.bits_per_byte import BitsPerByte, ratio_error

Floats = NDArray[np.float64]
Role = Literal["model", "base", "baseline"]


@dataclass(frozen=True, eq=False)
class ResultRow:
    """The result of one method on the documents."""

    name: str
    bits_per_byte: float
    note: str
    document_bits: Floats | None = None  # (documents,); none where documents were compressed as one
    role: Role = "baseline"


@dataclass(frozen=True)
class Line:
    """One line as it is shown and stored. Errors are standard errors over documents, none where they are unknown."""

    name: str
    role: Role
    bits_per_byte: float
    standard_error: float | None
    saved: float | None  # bits per byte above the model, paired by document
    saved_error: float | None
    by_kind: Mapping[str, float]  # bits per byte of prose and of code
    note: str


def compare(model: BitsPerByte, rows: Sequence[ResultRow], kinds: Sequence[str]) -> list[Line]:
    """Put rows beside the model, best first.

    The difference to the model is taken document by document, so that hard documents, which are hard for both, do not
    widen its error bar. The model's own row is among the rows; ``kinds`` says what each document is ("prose", "code").
    """
    return sorted((_line(model, row, np.array(kinds)) for row in rows), key=lambda line: line.bits_per_byte)


def _line(model: BitsPerByte, row: ResultRow, kinds: NDArray[np.str_]) -> Line:
    sizes = model.document_bytes
    error = saved_error = None
    by_kind: dict[str, float] = {}
    if row.document_bits is not None:
        error = known(ratio_error(row.document_bits, sizes))
        saved_error = known(ratio_error(row.document_bits - model.document_bits, sizes))
        by_kind = {str(kind): _share(row.document_bits, sizes, kinds == kind) for kind in np.unique(kinds)}
    saved = None if row.role == "model" else row.bits_per_byte - model.value
    if saved is None:
        saved_error = None
    return Line(row.name, row.role, row.bits_per_byte, error, saved, saved_error, by_kind, row.note)


def _share(bits: Floats, sizes: NDArray[np.int64], chosen: NDArray[np.bool_]) -> float:
    return float(bits[chosen].sum() / sizes[chosen].sum())


def known(value: float) -> float | None:
    """Return None for a number that is not finite, which JSON cannot hold."""
    return value if math.isfinite(value) else None
