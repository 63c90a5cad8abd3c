"""Pinecone (pinecone): an index of its service. Not run against the service by our tests unless they are given one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.contracts import Filter, Hit
from seedbed.search.filters import conditions
from seedbed.search.servers import client
from seedbed.search.servers.payload import dollar_filter, to_chunk, to_payload
from seedbed.vectors.arrays import Vectors

_AT_ONCE = 100  # vectors in a request


class Pinecone:
    """A namespace of an index, which must be there, with the metric "cosine".

    What was written is found some time later (the service is eventually consistent), and texts cannot be compared by
    order.

    Args:
        place: the index's host; the key is read from ``PINECONE_API_KEY``.
    """

    def __init__(self, place: str, name: str, size: int) -> None:
        key = os.environ.get("PINECONE_API_KEY")
        if not key:
            raise UsageError("Pinecone needs a key", why="PINECONE_API_KEY is not set", fix="set it")
        self._index, self._name = client("pinecone", "pinecone").Pinecone(api_key=key).Index(host=place), name

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Keep chunks; one that is there already is replaced. Returns their ids."""
        rows = [
            {"id": chunk.id, "values": vector.tolist(), "metadata": to_payload(chunk)}
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]
        for at in range(0, len(rows), _AT_ONCE):
            self._index.upsert(vectors=rows[at : at + _AT_ONCE], namespace=self._name)
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        """Forget chunks. Returns how many there were."""
        there = [chunk.id for chunk in self.get(list(dict.fromkeys(ids)))]
        if there:
            self._index.delete(ids=there, namespace=self._name)
        return len(there)

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Those of these ids that are there, in the order of ``ids``."""
        found = self._index.fetch(ids=list(dict.fromkeys(ids)), namespace=self._name).vectors if ids else {}
        return [to_chunk(found[one].metadata) for one in ids if one in found]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks nearest to a vector (by cosine, approximately), best first."""
        query = {"vector": vector.tolist(), "top_k": k, "include_metadata": True, "namespace": self._name}
        found = self._index.query(**query, filter=dollar_filter(conditions(where), "Pinecone"))
        return [Hit(to_chunk(match.metadata), match.score) for match in found.matches]

    def count(self) -> int:
        """How many chunks there are."""
        there = self._index.describe_index_stats().namespaces.get(self._name)
        return int(there.vector_count) if there else 0

    def close(self) -> None:
        """Nothing to let go of."""
