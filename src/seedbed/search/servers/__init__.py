"""Vector stores of others behind ``contracts.VectorStore``, for collections that have outgrown one file.

Each adapter is thin and imports its client library only when it is made. All of them, and our own store, pass the
same tests (``tests/search/store_conformance.py``).
"""

from __future__ import annotations

import importlib
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.search.contracts import VectorStore

KINDS = {
    "chroma": ("Chroma", "a folder, or http://host:port"),
    "lancedb": ("LanceDB", "a folder"),
    "pgvector": ("PgVector", "postgresql://user:password@host/database"),
    "pinecone": ("Pinecone", "the address of an index; its key in PINECONE_API_KEY"),
    "qdrant": ("Qdrant", "http://host:port, or a folder"),
    "weaviate": ("Weaviate", "http://host:port"),
}


def open_server(address: str, name: str, size: int) -> VectorStore:
    """A collection of a server.

    Args:
        address: ``KIND:PLACE``, such as ``qdrant:http://127.0.0.1:6333``.
        name: of the collection there; made when there is none.
        size: numbers in a vector.

    Raises:
        UsageError: there is no such kind, or its library is not installed.
    """
    kind, _, place = address.partition(":")
    if kind not in KINDS or not place:
        kinds = "; ".join(f"{known}: {what}" for known, (_, what) in KINDS.items())
        raise UsageError(f"{address!r} is no vector server", why=f"the kinds are {kinds}", fix="write KIND:PLACE")
    made: VectorStore = getattr(importlib.import_module(f"{__name__}.{kind}"), KINDS[kind][0])(place, name, size)
    return made


def client(module: str, extra: str) -> Any:
    """A client library. Raises UsageError where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = f"install it: pip install 'seedbed[{extra}]'"
        raise UsageError(f"{extra} needs the library {module}", why=str(error), fix=fix) from error
