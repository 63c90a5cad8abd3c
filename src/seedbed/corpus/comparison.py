"""Near-duplicates of a corpus: by similarity (``duplicates.py``) and by containment (``overlap.py``)."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus.duplicates import Flags, Indices, NearIndex, SignatureWriter, near_clusters, remove_near
from seedbed.corpus.overlap import OverlapIndex, OverlapWriter, Samples, join_contained, remove_contained


class ComparisonWriter(ExitStack):
    """Writes what documents are compared by to files in a folder, which are open until the block ends."""

    def __init__(self, folder: Path, threshold: float) -> None:
        super().__init__()
        self._signatures = self.enter_context(SignatureWriter(folder, threshold))
        self._samples = self.enter_context(OverlapWriter(folder, threshold))

    def add(self, signatures: NDArray[np.uint32], samples: Samples) -> None:
        """Append the next documents."""
        self._signatures.add(signatures)
        self._samples.add(samples)

    @property
    def comparison(self) -> Comparison:
        """The comparison of what was written."""
        return Comparison(self._signatures.index, self._samples.index)


@dataclass(frozen=True)
class Comparison:
    """Documents on disk that can be compared."""

    near: NearIndex
    overlap: OverlapIndex

    def remove(self, present: Flags) -> tuple[Flags, int]:
        """Return the documents that are left without near-duplicates, and how many went for standing in another."""
        left = remove_near(self.near, present)
        kept = remove_contained(self.overlap, left)
        return kept, int(left.sum() - kept.sum())

    def clusters(self, present: Flags) -> Indices:
        """Return for every document the first of its cluster of near-duplicates (itself when it has none)."""
        return join_contained(self.overlap, present, near_clusters(self.near, present))

    def across(self, present: Flags, splits: NDArray[np.int8]) -> int:
        """Count the pairs of near-duplicates on different sides of the split."""
        pairs = [self.overlap.contained(present), *self.near.near_pairs(present)]
        return sum(int((splits[some[:, 0]] != splits[some[:, 1]]).sum()) for some in pairs)
