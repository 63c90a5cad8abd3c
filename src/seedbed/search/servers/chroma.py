"""Chroma (chromadb): in a folder, on a server, or in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from seedbed.documents.document import Chunk
from seedbed.search.filters import Condition
from seedbed.search.servers.base import Point, ServerStore, client, dollar_filter, to_chunk, to_payload


class Chroma(ServerStore):
    """A Chroma collection."""

    batch = 5_000  # SQLite's limit on bound values, in which Chroma keeps its payloads
    orders_texts = False

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
        cosine = {"hnsw": {"space": "cosine"}}
        made_name = f"seedbed_{name}"  # Chroma wants three characters at least
        self._collection = made.get_or_create_collection(made_name, configuration=cosine, embedding_function=None)

    def count(self) -> int:
        return int(self._collection.count())

    def _write(self, points: Sequence[Point]) -> None:
        ids = [one for one, _, _ in points]
        self._collection.delete(ids=ids)  # upsert would mix the old metadata with the new
        payloads = [to_payload(chunk) for _, chunk, _ in points]
        self._collection.add(ids=ids, embeddings=[vector for _, _, vector in points], metadatas=payloads)

    def _read(self, ids: Sequence[str]) -> Mapping[str, Chunk]:
        found = self._collection.get(ids=ids, include=["metadatas"])
        return dict(zip(found["ids"], map(to_chunk, found["metadatas"]), strict=True))

    def _remove(self, ids: Sequence[str]) -> None:
        self._collection.delete(ids=ids)

    def _nearest(self, vector: list[float], k: int, where: Sequence[Condition]) -> Iterable[tuple[Chunk, float]]:
        include = ["metadatas", "distances"]
        found = self._collection.query(
            query_embeddings=[vector], n_results=k, include=include, where=dollar_filter(where)
        )
        pairs = zip(found["metadatas"][0], found["distances"][0], strict=True)
        return ((to_chunk(payload), 1 - distance) for payload, distance in pairs)
