"""What servers keep beside a vector: the chunk as flat fields, metadata under names of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.filters import OWN_FIELDS, Condition

PREFIX = "meta_"
"""Before the names of metadata, so that none is mistaken for one of a chunk's own fields."""


ORDERS = ("gt", "gte", "lt", "lte")


def to_payload(chunk: Chunk) -> dict[str, Any]:
    """Texts, numbers, true and false; a missing page is left out."""
    own: dict[str, Any] = {
        "source": chunk.source,
        "start": chunk.start,
        "end": chunk.end,
        "text": chunk.text,
        "heading": chunk.heading,
    }
    page = {} if chunk.page is None else {"page": chunk.page}
    return own | page | {PREFIX + key: value for key, value in chunk.metadata.items()}


def to_chunk(payload: Mapping[str, Any]) -> Chunk:
    """The chunk of a payload; servers that know only one kind of number give whole ones back as they were."""
    page = payload.get("page")
    metadata = {key.removeprefix(PREFIX): value for key, value in payload.items() if key.startswith(PREFIX)}
    return Chunk(
        payload["source"],
        int(payload["start"]),
        int(payload["end"]),
        payload["text"],
        None if page is None else int(page),
        payload["heading"],
        metadata,
    )


def field(condition: Condition) -> str:
    """The name of a condition's field in a payload."""
    return condition.field if condition.field in OWN_FIELDS else PREFIX + condition.field


def dollar_filter(found: Sequence[Condition], server: str) -> dict[str, Any] | None:
    """The filter in the form that Chroma and Pinecone have from MongoDB."""
    parts = []
    for one in found:
        if one.operator in ORDERS and isinstance(one.value, str):
            raise unordered(one, server)
        value = list(one.value) if isinstance(one.value, tuple) else one.value
        parts.append({field(one): {f"${one.operator}": value}})
    return {"$and": parts} if len(parts) > 1 else (parts[0] if parts else None)


def unordered(condition: Condition, server: str) -> UsageError:
    """For servers that order numbers only."""
    return UsageError(
        f"{server} cannot compare texts by {condition.operator!r} (on {condition.field})",
        why="it orders numbers only",
        fix="use eq or in, or keep a number, such as 20240131 for a date",
    )
