"""LangChain's embeddings and vector store over ours."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from seedbed.documents.document import Chunk
from seedbed.search.contracts import Embedder, Filter, Hit
from seedbed.search.store import Store


class SeedbedEmbeddings(Embeddings):
    """LangChain's interface of any of our embedders."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return a vector of length 1 for each text."""
        return cast(list[list[float]], np.asarray(self.embedder.embed_documents(texts)).tolist()) if texts else []

    def embed_query(self, text: str) -> list[float]:
        """Return the vector of a question."""
        return cast(list[float], np.asarray(self.embedder.embed_query(text)).tolist())


class SeedbedVectorStore(VectorStore):
    """Our store, one SQLite file; each document in it is one chunk, whose source is the document's id.

    Args:
        embedding: makes the vectors; the file refuses vectors of another one.
        path: of the file; by default nothing is saved.
    """

    def __init__(self, embedding: Embeddings, path: Path | str = ":memory:") -> None:
        self.embedding, self.store = embedding, Store(path)

    @property
    def embeddings(self) -> Embeddings:
        """The maker of the vectors."""
        return self.embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Store texts; one with a stored id replaces it."""
        texts = list(texts)
        if not texts:
            return []
        names = [one or uuid.uuid4().hex for one in ids or [""] * len(texts)]
        vectors = np.asarray(self.embedding.embed_documents(texts), np.float32)
        rows = zip(names, texts, metadatas or [{}] * len(texts), strict=True)
        chunks = [Chunk(name, 0, len(text), text, metadata=data or {}) for name, text, data in rows]
        last = sorted({name: place for place, name in enumerate(names)}.values())  # of an id that comes twice
        with self.store.transaction():
            self.store.bind(_name_of(self.embedding), vectors.shape[1])
            self.store.delete([chunk.id for name in names for chunk in self.store.chunks_of(name)])
            self.store.add([chunks[place] for place in last], vectors[last])
        return names

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete documents."""
        with self.store.transaction():
            self.store.delete([chunk.id for name in ids or [] for chunk in self.store.chunks_of(name)])
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return the stored documents of these ids."""
        return [_document(chunk) for one in ids for chunk in self.store.chunks_of(one)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the nearest, best first; ``filter`` is a :data:`seedbed.search.contracts.Filter`."""
        return [found for found, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """Return the nearest with their cosines."""
        return [(_document(hit.chunk), hit.score) for hit in self._hits(self._vector(query), k, **kwargs)]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """Return the nearest to a vector."""
        return [_document(hit.chunk) for hit in self._hits(np.asarray(embedding, np.float32), k, **kwargs)]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """Return near documents that differ from each other."""
        vector = self._vector(query)
        hits = self._hits(vector, fetch_k, **kwargs)
        rows = self.store.rows([hit.chunk.id for hit in hits])
        vectors = self.store.vectors_of(list(rows.values()))
        near = [vectors[rows[hit.chunk.id]].tolist() for hit in hits]
        return [_document(hits[one].chunk) for one in maximal_marginal_relevance(vector, near, lambda_mult, k)]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> SeedbedVectorStore:
        """Make a store of these texts, in the file ``path``."""
        store = cls(embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda cosine: (1 + cosine) / 2

    def _vector(self, query: str) -> Any:
        return np.asarray(self.embedding.embed_query(query), np.float32)

    def _hits(self, vector: Any, k: int, filter: Filter | None = None, **kwargs: Any) -> list[Hit]:
        return self.store.search(vector, k, filter)


def _name_of(embedding: Embeddings) -> str:
    """Return the name of an embedder: our embedder's own, else its class and, if it has one, its model."""
    if isinstance(embedding, SeedbedEmbeddings):
        return embedding.embedder.name
    return " ".join([type(embedding).__qualname__, str(getattr(embedding, "model", ""))]).strip()


def _document(chunk: Chunk) -> Document:
    return Document(id=chunk.source, page_content=chunk.text, metadata=dict(chunk.metadata))
