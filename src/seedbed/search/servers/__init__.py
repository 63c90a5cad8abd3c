"""Vector servers behind ``contracts.VectorStore``, for collections that have outgrown one file.

An adapter imports its client library only when it is made. All of them, and our own store, pass the same tests
(``tests/search/store_conformance.py``).
"""

from __future__ import annotations

import importlib

from seedbed.core.errors import UsageError
from seedbed.core.progress import progress
from seedbed.search.contracts import VectorStore
from seedbed.search.store import Store

KINDS = {
    "chroma": ("Chroma", "a folder, or http://host:port"),
    "lancedb": ("LanceDB", "a folder"),
    "pgvector": ("PgVector", "postgresql://user:password@host/database"),
    "pinecone": ("Pinecone", "the address of an index; its key in PINECONE_API_KEY"),
    "qdrant": ("Qdrant", "http://host:port, or a folder"),
    "weaviate": ("Weaviate", "http://host:port"),
}
"""Kind → class and place. Chroma and Qdrant also know the place ``:memory:``."""
_AT_ONCE = 1_000  # chunks


def open_server(address: str, name: str, size: int) -> VectorStore:
    """Open a collection of a server for vectors of ``size`` numbers, made when there is none.

    Args:
        address: ``KIND:PLACE``, such as ``qdrant:http://127.0.0.1:6333``; the places are those of :data:`KINDS`.

    Raises UsageError: there is no such kind, or its library is not installed.
    """
    kind, _, place = address.partition(":")
    if kind not in KINDS or not place:
        kinds = "; ".join(f"{known}: {what}" for known, (_, what) in KINDS.items())
        raise UsageError(f"{address!r} is not a vector server", why=f"the kinds are {kinds}", fix="write KIND:PLACE")
    made: VectorStore = getattr(importlib.import_module(f"{__name__}.{kind}"), KINDS[kind][0])(place, name, size)
    return made


def synchronize(store: Store, server: VectorStore) -> None:
    """Update a server's copy of a store's vectors, which can be made again from the store at any time.

    A part is recorded as sent after it was sent: after an interruption some of it is sent again.
    """
    with progress("sending to the server", unit="chunks") as bar:
        while True:
            chunks, vectors, gone = store.unsynced(_AT_ONCE)
            if not chunks and not gone:
                return
            server.delete(gone)
            server.add(chunks, vectors)
            store.mark_synced([chunk.id for chunk in chunks], gone)
            bar.advance(len(chunks) + len(gone))
