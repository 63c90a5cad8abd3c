"""Pinecone (pinecone): an index of its service. Our tests run it only when they are given one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.filters import Condition
from seedbed.search.servers.base import Point, ServerStore, client, dollar_filter, to_chunk, to_payload


class Pinecone(ServerStore):
    """A namespace of an index, which must exist, with the metric "cosine".

    New vectors are found some time after they were written (the service is eventually consistent).
    """

    batch = 100
    orders_texts = False

    def __init__(self, place: str, name: str, size: int) -> None:
        key = os.environ.get("PINECONE_API_KEY")
        if not key:
            raise UsageError("Pinecone needs a key", why="PINECONE_API_KEY is not set", fix="set it")
        self._index, self._name = client("pinecone", "pinecone").Pinecone(api_key=key).Index(host=place), name

    def count(self) -> int:
        found = self._index.describe_index_stats().namespaces.get(self._name)
        return int(found.vector_count) if found else 0

    def _write(self, points: Sequence[Point]) -> None:
        rows = [{"id": one, "values": vector, "metadata": to_payload(chunk)} for one, chunk, vector in points]
        self._index.upsert(vectors=rows, namespace=self._name)

    def _read(self, ids: Sequence[str]) -> Mapping[str, Chunk]:
        found = self._index.fetch(ids=ids, namespace=self._name).vectors
        return {one: to_chunk(vector.metadata) for one, vector in found.items()}

    def _remove(self, ids: Sequence[str]) -> None:
        self._index.delete(ids=ids, namespace=self._name)

    def _nearest(self, vector: list[float], k: int, where: Sequence[Condition]) -> Iterable[tuple[Chunk, float]]:
        query = {"vector": vector, "top_k": k, "include_metadata": True, "namespace": self._name}
        found = self._index.query(**query, filter=dollar_filter(where))
        return ((to_chunk(match.metadata), match.score) for match in found.matches)
