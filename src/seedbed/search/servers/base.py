"""The common part of the adapters: checked requests, and a chunk as the flat payload that servers store.

Metadata has names of its own in a payload, so that none is mistaken for one of a chunk's own fields.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.contracts import Filter, Hit, VectorStore
from seedbed.search.filters import OWN_FIELDS, SQL_SIGNS, Condition, conditions
from seedbed.vectors.lsa import Vectors

PREFIX = "meta_"
"""Prefix of the names of metadata."""
Point = tuple[str, Chunk, list[float]]
"""An id, its chunk and its vector."""


class ServerStore(VectorStore, ABC):
    """A collection of a server. An adapter gives the requests; ids that reach it are distinct and at least one."""

    batch: ClassVar[int] = 10_000
    """Points of a request at most."""
    orders_texts: ClassVar[bool] = True
    """True where filters compare texts by order."""

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        pairs = zip(chunks, vectors, strict=True)
        points = list({chunk.id: (chunk.id, chunk, vector.tolist()) for chunk, vector in pairs}.values())
        for first in range(0, len(points), self.batch):
            self._write(points[first : first + self.batch])
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        found = list(self._read(list(dict.fromkeys(ids)))) if ids else []
        if found:
            self._remove(found)
        return len(found)

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        found = self._read(list(dict.fromkeys(ids))) if ids else {}
        return [found[one] for one in ids if one in found]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        wanted = conditions(where)
        for one in wanted:
            if one.operator in SQL_SIGNS and isinstance(one.value, str) and not self.orders_texts:
                what = f"{type(self).__name__} cannot compare texts by {one.operator!r} (on {one.field})"
                fix = "use eq or in, or store a number, such as 20240131 for a date"
                raise UsageError(what, why="it orders numbers only", fix=fix)
        return [Hit(chunk, score) for chunk, score in self._nearest(vector.tolist(), k, wanted)]

    def close(self) -> None:
        """Close nothing: most clients hold no connection."""

    @abstractmethod
    def _write(self, points: Sequence[Point]) -> None:
        """Store points in place of those with the same ids."""

    @abstractmethod
    def _read(self, ids: Sequence[str]) -> Mapping[str, Chunk]:
        """Return the stored chunks of these ids."""

    @abstractmethod
    def _remove(self, ids: Sequence[str]) -> None:
        """Delete stored chunks."""

    @abstractmethod
    def _nearest(self, vector: list[float], k: int, where: Sequence[Condition]) -> Iterable[tuple[Chunk, float]]:
        """Yield the nearest chunks with their cosines, best first."""


def client(module: str, extra: str) -> Any:
    """Import a client library. Raises UsageError if it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = f"install it: pip install 'seedbed[{extra}]'"
        raise UsageError(f"{extra} needs the library {module}", why=str(error), fix=fix) from error


def to_payload(chunk: Chunk) -> dict[str, Any]:
    """Return a chunk as texts, numbers, true and false; a missing page is left out."""
    own = {key: getattr(chunk, key) for key in ("source", "start", "end", "text", "heading", "page")}
    if chunk.page is None:
        del own["page"]
    return own | {PREFIX + key: value for key, value in chunk.metadata.items()}


def to_chunk(payload: Mapping[str, Any]) -> Chunk:
    """Return the chunk of a payload. Some servers return whole numbers as floats: they are made whole again."""
    own = {key: value for key, value in payload.items() if key in ("source", "text", "heading")}
    own |= {key: int(payload[key]) for key in ("start", "end", "page") if payload.get(key) is not None}
    metadata = {key.removeprefix(PREFIX): value for key, value in payload.items() if key.startswith(PREFIX)}
    return Chunk(**own, metadata=metadata)


def field(condition: Condition) -> str:
    """Return the name of a condition's field in a payload."""
    return condition.field if condition.field in OWN_FIELDS else PREFIX + condition.field


def dollar_filter(where: Sequence[Condition]) -> dict[str, Any] | None:
    """Return a filter in MongoDB's form, which Chroma and Pinecone take."""
    parts = [
        {field(one): {f"${one.operator}": list(one.value) if isinstance(one.value, tuple) else one.value}}
        for one in where
    ]
    return {"$and": parts} if len(parts) > 1 else (parts[0] if parts else None)
