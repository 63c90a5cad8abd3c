"""The interfaces of retrieval: embedders, vector stores, and the hits of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from seedbed.documents.document import Chunk
from seedbed.search.modes import Mode
from seedbed.vectors.lsa import Vectors

Filter = Mapping[str, Any]
"""Conditions on metadata that must all hold: ``{"year": 2020}``, ``{"year": {"gte": 2020, "lt": 2024}}``,
``{"lang": {"in": ["en", "de"]}}``. Operators: eq, ne, gt, gte, lt, lte, in, nin. "source" is a field too."""


@dataclass(frozen=True)
class Hit:
    """A chunk that a search found, with its score; scores compare within one search only.

    Attributes:
        mode: the way that a collection searched, which is by words while too many chunks have no vector.
        copies: the sources of hits that were left out because their text is, nearly, this one's.
    """

    chunk: Chunk
    score: float
    mode: Mode | None = None
    copies: tuple[str, ...] = ()


class Embedder(Protocol):
    """Turns texts into vectors of length 1."""

    @property
    def name(self) -> str:
        """The model that makes the vectors. A collection records it and refuses others."""

    @property
    def size(self) -> int:
        """Numbers in a vector."""

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return vectors (N, size)."""

    def embed_query(self, text: str) -> Vectors:
        """Return a vector (size,)."""


class VectorStore(Protocol):
    """Stores chunks with their vectors: our one SQLite file, or a server."""

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Store chunks; one with a stored id replaces it. Returns their ids."""

    def delete(self, ids: Sequence[str]) -> int:
        """Delete chunks. Returns how many there were."""

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Return the chunks with these ids, in the order of ``ids``; unknown ids are left out."""

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """Return the ``k`` chunks nearest to a vector (by cosine), best first; a server's index may approximate."""

    def count(self) -> int:
        """Count the chunks."""

    def close(self) -> None:
        """Close files and connections."""
