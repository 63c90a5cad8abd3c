"""Chroma (chromadb): in a folder, on a server, or in memory."""

from __future__ import annotations

from collections.abc import Sequence

from seedbed.documents.document import Chunk
from seedbed.search.contracts import Filter, Hit
from seedbed.search.filters import conditions
from seedbed.search.servers import client
from seedbed.search.servers.payload import dollar_filter, to_chunk, to_payload
from seedbed.vectors.arrays import Vectors

_AT_ONCE = 5_000  # SQLite's limit on bound values, in which Chroma keeps its payloads


class Chroma:
    """A Chroma collection. Its texts cannot be compared by order.

    Args:
        place: a folder, ``http://host:port``, or ``":memory:"``.
    """

    def __init__(self, place: str, name: str, size: int) -> None:
        chromadb = client("chromadb", "chroma")
        settings = chromadb.config.Settings(anonymized_telemetry=False)
        if place == ":memory:":
            made = chromadb.EphemeralClient(settings=settings)
        elif place.startswith(("http://", "https://")):
            address, _, port = place.removesuffix("/").rpartition(":")
            host, secure = address.partition("//")[2], place.startswith("https")
            made = chromadb.HttpClient(host, int(port), ssl=secure, settings=settings)
        else:
            made = chromadb.PersistentClient(place, settings=settings)
        found = {"hnsw": {"space": "cosine"}}
        made_name = f"seedbed_{name}"  # Chroma wants three characters at least
        self._collection = made.get_or_create_collection(made_name, configuration=found, embedding_function=None)

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Keep chunks; one that is there already is replaced. Returns their ids."""
        whole = {chunk.id: (to_payload(chunk), vector) for chunk, vector in zip(chunks, vectors, strict=True)}
        ids = list(whole)
        for at in range(0, len(ids), _AT_ONCE):
            part = ids[at : at + _AT_ONCE]
            self._collection.delete(ids=part)  # upsert would mix the old metadata with the new
            embeddings, payloads = [whole[one][1].tolist() for one in part], [whole[one][0] for one in part]
            self._collection.add(ids=part, embeddings=embeddings, metadatas=payloads)
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        """Forget chunks. Returns how many there were."""
        there = [chunk.id for chunk in self.get(ids)]
        if there:
            self._collection.delete(ids=there)
        return len(there)

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Those of these ids that are there, in the order of ``ids``."""
        if not ids:
            return []
        found = self._collection.get(ids=list(set(ids)), include=["metadatas"])
        chunks = dict(zip(found["ids"], map(to_chunk, found["metadatas"]), strict=True))
        return [chunks[one] for one in ids if one in chunks]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks nearest to a vector (by cosine, approximately), best first."""
        include = ["metadatas", "distances"]
        query = {"query_embeddings": [vector.tolist()], "n_results": k, "include": include}
        found = self._collection.query(**query, where=dollar_filter(conditions(where), "Chroma"))
        pairs = zip(found["metadatas"][0], found["distances"][0], strict=True)
        return [Hit(to_chunk(payload), 1 - distance) for payload, distance in pairs]

    def count(self) -> int:
        """How many chunks there are."""
        return int(self._collection.count())

    def close(self) -> None:
        """Nothing to let go of: Chroma's clients share their files."""
