"""A server's copy of a store's vectors. The store stays the whole truth: the copy can be made again at any time."""

from __future__ import annotations

from seedbed.core.progress import progress
from seedbed.search.contracts import VectorStore
from seedbed.search.store import Store

_AT_ONCE = 1_000  # chunks


def update(store: Store, server: VectorStore) -> None:
    """Bring a server up to date. What was sent is noted after it was sent: an interruption sends some of it again."""
    with progress("sending to the server", unit="chunks") as bar:
        while True:
            chunks, vectors, gone = store.unmirrored(_AT_ONCE)
            if not chunks and not gone:
                return
            if gone:
                server.delete(gone)
            if chunks:
                server.add(chunks, vectors)
            store.mirrored([chunk.id for chunk in chunks], gone)
            bar.advance(len(chunks) + len(gone))
