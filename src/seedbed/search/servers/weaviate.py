"""Weaviate (weaviate-client, version 4). Not run by our tests unless they are given a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import reduce
from operator import and_, or_
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.contracts import Filter, Hit
from seedbed.search.filters import Condition, conditions
from seedbed.search.servers import client
from seedbed.search.servers.payload import PREFIX, field, to_chunk, to_payload
from seedbed.vectors.arrays import Vectors

_SIGNS = {"gt": "greater_than", "gte": "greater_or_equal", "lt": "less_than", "lte": "less_or_equal"}


class Weaviate:
    """A Weaviate collection. Metadata is a property each for filters, so its names must be identifiers.

    Args:
        place: ``http://host:port``; gRPC is expected at port 50051 of the same host.
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

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Keep chunks; one that is there already is replaced. Returns their ids."""
        for chunk in chunks:
            if wrong := [key for key in chunk.metadata if not (PREFIX + key).isidentifier()]:
                why = "it becomes a property, whose name is an identifier"
                raise UsageError(f"Weaviate can keep no field {wrong[0]!r}", why=why, fix="give it another name")
        with self._collection.batch.fixed_size(100) as batch:
            for chunk, vector in zip(chunks, vectors, strict=True):
                whole = to_payload(chunk) | {"whole": json.dumps(to_payload(chunk))}
                batch.add_object(properties=whole, uuid=str(UUID(chunk.id)), vector=vector.tolist())
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        """Forget chunks. Returns how many there were."""
        wanted = [str(UUID(one)) for one in ids]
        chosen = self._classes.query.Filter.by_id().contains_any(wanted)
        return int(self._collection.data.delete_many(where=chosen).successful) if wanted else 0

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Those of these ids that are there, in the order of ``ids``."""
        found = {one: self._collection.query.fetch_object_by_id(str(UUID(one))) for one in ids}
        return [to_chunk(json.loads(found[one].properties["whole"])) for one in ids if found[one] is not None]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks nearest to a vector (by cosine, approximately), best first."""
        parts = [self._condition(one) for one in conditions(where)]
        asked = self._classes.query.MetadataQuery(distance=True)
        chosen = reduce(and_, parts) if parts else None
        found = self._collection.query.near_vector(vector.tolist(), limit=k, filters=chosen, return_metadata=asked)
        return [Hit(to_chunk(json.loads(one.properties["whole"])), 1 - one.metadata.distance) for one in found.objects]

    def count(self) -> int:
        """How many chunks there are."""
        return int(self._collection.aggregate.over_all(total_count=True).total_count)

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _condition(self, one: Condition) -> Any:
        named = self._classes.query.Filter.by_property(field(one))
        if one.operator in _SIGNS:
            return getattr(named, _SIGNS[one.operator])(one.value)
        if one.operator in ("eq", "in"):
            return reduce(or_, [named.equal(value) for value in one.values])
        return named.is_none(True) | reduce(and_, [named.not_equal(value) for value in one.values])
