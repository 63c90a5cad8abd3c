"""LanceDB (lancedb): tables in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from seedbed.documents.document import Chunk
from seedbed.search.contracts import Filter, Hit
from seedbed.search.filters import matches
from seedbed.search.servers import client
from seedbed.vectors.arrays import Vectors

_PLAIN = ("source", "start", "end", "text", "page", "heading")


class LanceDB:
    """A LanceDB table. Metadata is one JSON text: a filter on it first reads it of all chunks."""

    def __init__(self, place: str, name: str, size: int) -> None:
        arrow = client("pyarrow", "lancedb")
        texts = [(key, arrow.string()) for key in ("id", "source", "text", "heading", "metadata")]
        numbers = [(key, arrow.int64()) for key in ("start", "end", "page")]
        schema = arrow.schema([*texts, *numbers, ("vector", arrow.list_(arrow.float32(), size))])
        self._table = client("lancedb", "lancedb").connect(place).create_table(name, schema=schema, exist_ok=True)

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Keep chunks; one that is there already is replaced. Returns their ids."""
        rows = {chunk.id: _row(chunk, vector) for chunk, vector in zip(chunks, vectors, strict=True)}
        if rows:
            merge = self._table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(list(rows.values()))
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        """Forget chunks. Returns how many there were."""
        before = self.count()
        if ids:
            self._table.delete(_among(ids))
        return before - self.count()

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Those of these ids that are there, in the order of ``ids``."""
        found = self._table.search().where(_among(ids)).limit(len(ids)).to_list() if ids else []
        chunks = {row["id"]: _chunk(row) for row in found}
        return [chunks[one] for one in ids if one in chunks]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks nearest to a vector (by cosine), best first."""
        query = self._table.search(vector.tolist(), vector_column_name="vector").distance_type("cosine").limit(k)
        if where:
            columns = self._table.search().select(["id", "source", "page", "heading", "metadata"])
            rows = columns.limit(self.count()).to_list()
            bare = {"start": 0, "end": 0, "text": ""}
            chosen = [row["id"] for row in rows if matches(_chunk(row | bare), where)]
            if not chosen:
                return []
            query = query.where(_among(chosen), prefilter=True)
        return [Hit(_chunk(row), 1 - row["_distance"]) for row in query.to_list()]

    def count(self) -> int:
        """How many chunks there are."""
        return int(self._table.count_rows())

    def close(self) -> None:
        """Nothing to let go of."""


def _row(chunk: Chunk, vector: Vectors) -> dict[str, Any]:
    own = {key: getattr(chunk, key) for key in _PLAIN}
    return own | {"id": chunk.id, "metadata": json.dumps(dict(chunk.metadata)), "vector": vector.tolist()}


def _chunk(row: dict[str, Any]) -> Chunk:
    return Chunk(**{key: row[key] for key in _PLAIN}, metadata=json.loads(row["metadata"]))


def _among(ids: Sequence[str]) -> str:
    """An SQL condition. It has no parameters to bind: ids that are not hexadecimal digits name no chunk."""
    return "id IN ({})".format(", ".join(f"'{one}'" for one in ids if one.isalnum()) or "''")
