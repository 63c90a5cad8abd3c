"""PostgreSQL with the extension pgvector (psycopg)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from seedbed.documents.document import Chunk
from seedbed.search.contracts import Filter, Hit
from seedbed.search.filters import Condition, conditions
from seedbed.search.servers import client
from seedbed.search.servers.payload import field, to_chunk, to_payload
from seedbed.vectors.arrays import Vectors

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class PgVector:
    """A table of vectors and JSON. Without an index, which only the database's owner can choose, search is exact.

    Args:
        place: ``postgresql://…``.
    """

    def __init__(self, place: str, name: str, size: int) -> None:
        psycopg, self._sql = client("psycopg", "pgvector"), client("psycopg.sql", "pgvector")
        self._database = psycopg.connect(place, autocommit=True)
        self._database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        self._table = self._sql.Identifier(f"seedbed_{name}")
        columns = f"id text PRIMARY KEY, payload jsonb NOT NULL, vector vector({int(size)}) NOT NULL"
        self._run(f"CREATE TABLE IF NOT EXISTS {{}} ({columns})")

    def add(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[str]:
        """Keep chunks; one that is there already is replaced. Returns their ids."""
        rows = [(one.id, _json(to_payload(one)), _text(vector)) for one, vector in zip(chunks, vectors, strict=True)]
        insert = """INSERT INTO {} VALUES (%s, %s::jsonb, %s::vector)
            ON CONFLICT (id) DO UPDATE SET payload = EXCLUDED.payload, vector = EXCLUDED.vector"""
        with self._database.transaction(), self._database.cursor() as cursor:
            cursor.executemany(self._sql.SQL(insert).format(self._table), rows)
        return [chunk.id for chunk in chunks]

    def delete(self, ids: Sequence[str]) -> int:
        """Forget chunks. Returns how many there were."""
        return int(self._run("DELETE FROM {} WHERE id = ANY(%s)", [list(ids)]).rowcount)

    def get(self, ids: Sequence[str]) -> list[Chunk]:
        """Those of these ids that are there, in the order of ``ids``."""
        found = dict(self._run("SELECT id, payload FROM {} WHERE id = ANY(%s)", [list(ids)]).fetchall())
        return [to_chunk(found[one]) for one in ids if one in found]

    def search(self, vector: Vectors, k: int, where: Filter | None = None) -> list[Hit]:
        """The ``k`` chunks nearest to a vector (by cosine), best first."""
        parts = [_condition(one) for one in conditions(where)]
        wanted = " AND ".join(["TRUE", *(part for part, _ in parts)])
        values = [value for _, bound in parts for value in bound]
        query = f"SELECT payload, vector <=> %s::vector AS distance FROM {{}} WHERE {wanted} ORDER BY distance LIMIT %s"
        found = self._run(query, [_text(vector), *values, k])
        return [Hit(to_chunk(payload), 1 - float(distance)) for payload, distance in found]

    def count(self) -> int:
        """How many chunks there are."""
        return int(self._run("SELECT count(*) FROM {}").fetchone()[0])

    def close(self) -> None:
        """Let go of the connection."""
        self._database.close()

    def _run(self, query: str, values: Sequence[Any] = ()) -> Any:
        return self._database.execute(self._sql.SQL(query).format(self._table), values)


def _condition(one: Condition) -> tuple[str, list[Any]]:
    """On JSON values as such, which compare as numbers or as texts, and are never equal across kinds."""
    key, values = field(one), [_json(value) for value in one.values]
    if one.operator in _SIGNS:
        kind = "string" if isinstance(one.value, str) else "number"
        compare = f"(payload -> %s {_SIGNS[one.operator]} %s::jsonb AND jsonb_typeof(payload -> %s) = %s)"
        return compare, [key, values[0], key, kind]
    among = "COALESCE(payload -> %s = ANY(%s::jsonb[]), FALSE)"
    return f"NOT {among}" if one.operator in ("ne", "nin") else among, [key, values]


def _json(value: Any) -> str:
    return json.dumps(value)


def _text(vector: Vectors) -> str:
    return json.dumps(vector.tolist())
