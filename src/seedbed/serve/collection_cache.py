"""Collections that requests have asked, kept open: what one remembers of its vectors serves the next request."""

from __future__ import annotations

import threading
from typing import Any

from seedbed.core.artifacts import Library
from seedbed.core.errors import CorruptError, NewerError, NotFoundError
from seedbed.rag.collection import STORE, Collection, home, names


class CollectionCache:
    """Opens collections once, from any thread."""

    def __init__(self, library: Library) -> None:
        self._library, self._lock = library, threading.Lock()
        self._open: dict[str, tuple[int, Collection]] = {}

    def open(self, name: str) -> Collection:
        """The collection of that name, which stays the cache's. Raises NotFoundError, or UsageError for no name."""
        with self._lock:
            known, collection = self._open.get(name, (0, None))
            if collection is None or _file(self._library, name) != known:  # it was removed, and perhaps made again
                self._open.pop(name, None)
                collection = Collection.open(self._library, name)
                self._open[name] = _file(self._library, name), collection
            return collection

    def list(self) -> list[dict[str, Any]]:
        """Return the contents of each collection in numbers; of one that cannot be read, what is the matter."""
        return [self._described(name) for name in names(self._library)]

    def _described(self, name: str) -> dict[str, Any]:
        try:
            return _described(name, self.open(name))
        except (CorruptError, NewerError, NotFoundError) as error:
            return {"id": name, "object": "collection", "problem": error.what}

    def close(self) -> None:
        """Close them all."""
        with self._lock:
            for _, collection in self._open.values():
                collection.close()
            self._open.clear()


def _file(library: Library, name: str) -> int:
    try:
        return (home(library) / name / STORE).stat().st_ino
    except OSError:
        return -1


def _described(name: str, collection: Collection) -> dict[str, Any]:
    counts = {"documents": len(collection.store.documents()), "chunks": collection.store.count()}
    counts["without_vector"] = collection.store.pending()
    return {"id": name, "object": "collection", "digest": collection.digest, **counts}
