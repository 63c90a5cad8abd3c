"""What the parts of retrieval are to each other: embedders, stores and what a search finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from seedbed.documents.document import Chunk
from seedbed.vectors.arrays import Vectors

Filter = Mapping[str, Any]
"""Conditions on metadata that all must hold: ``{"year": 2020}``, ``{"year": {"gte": 2020, "lt": 2024}}``,
``{"lang": {"in": ["en", "de"]}}``. Operators: eq, ne, gt, gte, lt, lte, in, nin. "source" is a field too."""


@dataclass(frozen=True)
class Hit:
    """A chunk that was found, and how well it fits; scores compare within one search only."""

    chunk: Chunk
    score: float


class Embedder(Protocol):
    """Turns texts into vectors of length 1."""

    @property
    def name(self) -> str:
        """Says what makes the vectors. A collection keeps it and refuses others."""

    @property
    def size(self) -> int:
        """Numbers in a vector."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """(N, size)."""

    def embed_query(self, text: str) -> Vectors:
        """(size,)."""


class VectorStore(Protocol):
    """Keeps chunks with their vectors. Ours is one SQLite file; servers are behind the same face."""

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Keep chunks; one that is there already is replaced. Returns their ids."""

    def delete(self, ids: Sequence[str]) -> int:
        """Forget chunks. Returns how many there were."""

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Those of these ids that are there, in the order of ``ids``."""

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks nearest to a vector (by cosine), best first."""

    def count(self) -> int:
        """How many chunks there are."""

    def close(self) -> None:
        """Let go of files and connections."""
