"""Qdrant (qdrant-client): on a server, in a folder, or in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from seedbed.documents.document import Chunk
from seedbed.search.contracts import Filter, Hit
from seedbed.search.filters import Condition, conditions
from seedbed.search.servers import client
from seedbed.search.servers.payload import ORDERS, field, to_chunk, to_payload, unordered
from seedbed.vectors.arrays import Vectors

_AT_ONCE = 1_000  # points in a request


class Qdrant:
    """A Qdrant collection. A chunk's id is its point's (a UUID). Its texts cannot be compared by order.

    Args:
        place: ``http://host:port``, a folder, or ``":memory:"``.
    """

    def __init__(self, place: str, name: str, size: int) -> None:
        library = client("qdrant_client", "qdrant")
        self._models, self._name = library.models, name
        remote = place.startswith(("http://", "https://"))
        self._client = library.QdrantClient(
            **{"url" if remote else "path": place} if place != ":memory:" else {"location": place}
        )
        if not self._client.collection_exists(name):
            cosine = self._models.VectorParams(size=size, distance=self._models.Distance.COSINE)
            self._client.create_collection(name, vectors_config=cosine)

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Keep chunks; one that is there already is replaced. Returns their ids."""
        points = [
            self._models.PointStruct(id=str(UUID(chunk.id)), vector=vector.tolist(), payload=to_payload(chunk))
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]
        for at in range(0, len(points), _AT_ONCE):
            self._client.upsert(self._name, points[at : at + _AT_ONCE], wait=True)
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        """Forget chunks. Returns how many there were."""
        there = [str(UUID(chunk.id)) for chunk in self.get(list(dict.fromkeys(ids)))]
        if there:
            self._client.delete(self._name, self._models.PointIdsList(points=there), wait=True)
        return len(there)

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Those of these ids that are there, in the order of ``ids``."""
        points = [str(UUID(one)) for one in dict.fromkeys(ids)]
        found = self._client.retrieve(self._name, points, with_payload=True) if points else []
        chunks = {UUID(str(point.id)).hex: to_chunk(point.payload) for point in found}
        return [chunks[one] for one in ids if one in chunks]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks nearest to a vector (by cosine; a server's index is approximate), best first."""
        chosen = self._filter(conditions(where))
        found = self._client.query_points(self._name, query=vector.tolist(), limit=k, query_filter=chosen)
        return [Hit(to_chunk(point.payload), point.score) for point in found.points]

    def count(self) -> int:
        """How many chunks there are."""
        return int(self._client.count(self._name, exact=True).count)

    def close(self) -> None:
        """Let go of files and connections."""
        self._client.close()

    def _filter(self, found: Sequence[Condition]) -> Any:
        refused = [self._condition(one) for one in found if one.operator in ("ne", "nin")]
        wanted = [self._condition(one) for one in found if one.operator not in ("ne", "nin")]
        return self._models.Filter(must=wanted, must_not=refused) if found else None

    def _condition(self, one: Condition) -> Any:
        models, key = self._models, f'"{field(one)}"' if one.field not in ("source", "page", "heading") else one.field
        if one.operator in ORDERS:
            if isinstance(one.value, str):
                raise unordered(one, "Qdrant")
            return models.FieldCondition(key=key, range=models.Range(**{one.operator: one.value}))
        return models.Filter(should=[self._equal(key, value) for value in one.values])

    def _equal(self, key: str, value: Any) -> Any:
        models = self._models
        if isinstance(value, float):
            return models.FieldCondition(key=key, range=models.Range(gte=value, lte=value))
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))
