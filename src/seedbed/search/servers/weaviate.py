"""Weaviate (weaviate-client, version 4). Our tests run it only when they are given a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import and_, or_
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.filters import Condition
from seedbed.search.servers.base import PREFIX, Point, ServerStore, client, field, to_chunk, to_payload

_SIGNS = {"gt": "greater_than", "gte": "greater_or_equal", "lt": "less_than", "lte": "less_or_equal"}


class Weaviate(ServerStore):
    """A Weaviate collection. Each metadata field is a property that filters read, so its name must be an identifier.

    gRPC is expected at port 50051 of the same host.
    """

    def __init__(self, place: str, name: str, size: int) -> None:
        library, self._classes = client("weaviate", "weaviate"), client("weaviate.classes", "weaviate")
        parts, configure = urlsplit(place), self._classes.config.Configure
        secure, host = parts.scheme == "https", parts.hostname or "127.0.0.1"
        there = {"http_host": host, "http_port": parts.port or 8080, "grpc_host": host, "grpc_port": 50051}
        self._client = library.connect_to_custom(**there, http_secure=secure, grpc_secure=secure)
        title = "Seedbed_" + "".join(one if one.isalnum() else "_" for one in name)
        if not self._client.collections.exists(title):
            index = configure.VectorIndex.hnsw(distance_metric=self._classes.config.VectorDistances.COSINE)
            self._client.collections.create(
                title,
                vector_config=configure.Vectors.self_provided(vector_index_config=index),
                inverted_index_config=configure.inverted_index(index_null_state=True),
            )
        self._collection = self._client.collections.get(title)

    def delete(self, ids: Sequence[str]) -> int:
        chosen = self._classes.query.Filter.by_id().contains_any([str(UUID(one)) for one in ids])
        return int(self._collection.data.delete_many(where=chosen).successful) if ids else 0

    def count(self) -> int:
        return int(self._collection.aggregate.over_all(total_count=True).total_count)

    def close(self) -> None:
        self._client.close()

    def _write(self, points: Sequence[Point]) -> None:
        for _, chunk, _ in points:
            if wrong := [key for key in chunk.metadata if not (PREFIX + key).isidentifier()]:
                why = "it becomes a property, whose name is an identifier"
                raise UsageError(f"Weaviate cannot store a field {wrong[0]!r}", why=why, fix="give it another name")
        with self._collection.batch.fixed_size(100) as batch:
            for one, chunk, vector in points:
                whole = to_payload(chunk) | {"whole": json.dumps(to_payload(chunk))}
                batch.add_object(properties=whole, uuid=str(UUID(one)), vector=vector)

    def _read(self, ids: Sequence[str]) -> Mapping[str, Chunk]:
        found = {one: self._collection.query.fetch_object_by_id(str(UUID(one))) for one in ids}
        return {one: _chunk(held) for one, held in found.items() if held is not None}

    def _remove(self, ids: Sequence[str]) -> None:
        self.delete(ids)

    def _nearest(self, vector: list[float], k: int, where: Sequence[Condition]) -> Iterable[tuple[Chunk, float]]:
        parts = [self._condition(one) for one in where]
        asked = self._classes.query.MetadataQuery(distance=True)
        chosen = reduce(and_, parts) if parts else None
        found = self._collection.query.near_vector(vector, limit=k, filters=chosen, return_metadata=asked)
        return ((_chunk(one), 1 - one.metadata.distance) for one in found.objects)

    def _condition(self, one: Condition) -> Any:
        named = self._classes.query.Filter.by_property(field(one))
        if one.operator in _SIGNS:
            return getattr(named, _SIGNS[one.operator])(one.value)
        if one.operator in ("eq", "in"):
            return reduce(or_, [named.equal(value) for value in one.values])
        return named.is_none(True) | reduce(and_, [named.not_equal(value) for value in one.values])


def _chunk(found: Any) -> Chunk:
    return to_chunk(json.loads(found.properties["whole"]))
