"""LanceDB (lancedb): tables in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seedbed.documents.document import Chunk
from seedbed.search.filters import Condition, matches
from seedbed.search.servers.base import Point, ServerStore, client

_PLAIN = ("source", "start", "end", "text", "page", "heading")


class LanceDB(ServerStore):
    """A LanceDB table. Metadata is one JSON text: a filter on it first reads that of all chunks."""

    def __init__(self, place: str, name: str, size: int) -> None:
        arrow = client("pyarrow", "lancedb")
        texts = [(key, arrow.string()) for key in ("id", "source", "text", "heading", "metadata")]
        numbers = [(key, arrow.int64()) for key in ("start", "end", "page")]
        schema = arrow.schema([*texts, *numbers, ("vector", arrow.list_(arrow.float32(), size))])
        self._table = client("lancedb", "lancedb").connect(place).create_table(name, schema=schema, exist_ok=True)

    def count(self) -> int:
        return int(self._table.count_rows())

    def _write(self, points: Sequence[Point]) -> None:
        merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
        merge.execute([_row(*point) for point in points])

    def _read(self, ids: Sequence[str]) -> Mapping[str, Chunk]:
        found = self._table.search().where(_among(ids)).limit(len(ids)).to_list()
        return {row["id"]: _chunk(row) for row in found}

    def _remove(self, ids: Sequence[str]) -> None:
        self._table.delete(_among(ids))

    def _nearest(self, vector: list[float], k: int, where: Sequence[Condition]) -> Iterable[tuple[Chunk, float]]:
        query = self._table.search(vector, vector_column_name="vector").distance_type("cosine").limit(k)
        if where:
            query = query.where(_among(self._filtered(where)), prefilter=True)
        return ((_chunk(row), 1 - row["_distance"]) for row in query.to_list())

    def _filtered(self, where: Sequence[Condition]) -> list[str]:
        columns = self._table.search().select(["id", "source", "page", "heading", "metadata"])
        rows = columns.limit(self.count()).to_list()
        bare = {"start": 0, "end": 0, "text": ""}
        return [row["id"] for row in rows if matches(_chunk(row | bare), where)]


def _row(identity: str, chunk: Chunk, vector: list[float]) -> dict[str, Any]:
    own = {key: getattr(chunk, key) for key in _PLAIN}
    return own | {"id": identity, "metadata": json.dumps(dict(chunk.metadata)), "vector": vector}


def _chunk(row: dict[str, Any]) -> Chunk:
    return Chunk(**{key: row[key] for key in _PLAIN}, metadata=json.loads(row["metadata"]))


def _among(ids: Sequence[str]) -> str:
    """Return an SQL condition. It has no parameters to bind, so ids that are not alphanumeric are left out."""
    return "id IN ({})".format(", ".join(f"'{one}'" for one in ids if one.isalnum()) or "''")
