"""Qdrant (qdrant-client): on a server, in a folder, or in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from seedbed.documents.document import Chunk
from seedbed.search.filters import OWN_FIELDS, SQL_SIGNS, Condition
from seedbed.search.servers.base import Point, ServerStore, client, field, to_chunk, to_payload


class Qdrant(ServerStore):
    """A Qdrant collection. A chunk's id, as a UUID, is its point's."""

    batch = 1_000
    orders_texts = False

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

    def count(self) -> int:
        return int(self._client.count(self._name, exact=True).count)

    def close(self) -> None:
        self._client.close()

    def _write(self, points: Sequence[Point]) -> None:
        made = [
            self._models.PointStruct(id=str(UUID(one)), vector=vector, payload=to_payload(chunk))
            for one, chunk, vector in points
        ]
        self._client.upsert(self._name, made, wait=True)

    def _read(self, ids: Sequence[str]) -> Mapping[str, Chunk]:
        found = self._client.retrieve(self._name, [str(UUID(one)) for one in ids], with_payload=True)
        return {UUID(str(point.id)).hex: to_chunk(point.payload) for point in found}

    def _remove(self, ids: Sequence[str]) -> None:
        self._client.delete(self._name, self._models.PointIdsList(points=[str(UUID(one)) for one in ids]), wait=True)

    def _nearest(self, vector: list[float], k: int, where: Sequence[Condition]) -> Iterable[tuple[Chunk, float]]:
        refused = [self._condition(one) for one in where if one.operator in ("ne", "nin")]
        wanted = [self._condition(one) for one in where if one.operator not in ("ne", "nin")]
        chosen = self._models.Filter(must=wanted, must_not=refused) if where else None
        found = self._client.query_points(self._name, query=vector, limit=k, query_filter=chosen)
        return ((to_chunk(point.payload), point.score) for point in found.points)

    def _condition(self, one: Condition) -> Any:
        models, key = self._models, one.field if one.field in OWN_FIELDS else f'"{field(one)}"'
        if one.operator in SQL_SIGNS:
            return models.FieldCondition(key=key, range=models.Range(**{one.operator: one.value}))
        return models.Filter(should=[self._equal(key, value) for value in one.values])

    def _equal(self, key: str, value: Any) -> Any:
        models = self._models
        if isinstance(value, float):
            return models.FieldCondition(key=key, range=models.Range(gte=value, lte=value))
        return models.FieldCondition(key=key, match=models.MatchValue(value=value))
