"""PostgreSQL with the extension pgvector (psycopg)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seedbed.documents.document import Chunk
from seedbed.search.filters import SQL_SIGNS, Condition
from seedbed.search.servers.base import Point, ServerStore, client, field, to_chunk, to_payload


class PgVector(ServerStore):
    """A table of vectors and JSON. Without an index, which only the database's owner can choose, search is exact."""

    def __init__(self, place: str, name: str, size: int) -> None:
        psycopg, self._sql = client("psycopg", "pgvector"), client("psycopg.sql", "pgvector")
        self._database = psycopg.connect(place, autocommit=True)
        self._database.execute("CREATE EXTENSION IF NOT EXISTS vector")
        self._table = self._sql.Identifier(f"seedbed_{name}")
        columns = f"id text PRIMARY KEY, payload jsonb NOT NULL, vector vector({int(size)}) NOT NULL"
        self._run(f"CREATE TABLE IF NOT EXISTS {{}} ({columns})")

    def count(self) -> int:
        return int(self._run("SELECT count(*) FROM {}").fetchone()[0])

    def close(self) -> None:
        self._database.close()

    def _write(self, points: Sequence[Point]) -> None:
        rows = [(one, json.dumps(to_payload(chunk)), json.dumps(vector)) for one, chunk, vector in points]
        insert = """INSERT INTO {} VALUES (%s, %s::jsonb, %s::vector)
            ON CONFLICT (id) DO UPDATE SET payload = EXCLUDED.payload, vector = EXCLUDED.vector"""
        with self._database.transaction(), self._database.cursor() as cursor:
            cursor.executemany(self._sql.SQL(insert).format(self._table), rows)

    def _read(self, ids: Sequence[str]) -> Mapping[str, Chunk]:
        found = self._run("SELECT id, payload FROM {} WHERE id = ANY(%s)", [list(ids)])
        return {one: to_chunk(payload) for one, payload in found}

    def _remove(self, ids: Sequence[str]) -> None:
        self._run("DELETE FROM {} WHERE id = ANY(%s)", [list(ids)])

    def _nearest(self, vector: list[float], k: int, where: Sequence[Condition]) -> Iterable[tuple[Chunk, float]]:
        parts = [_condition(one) for one in where]
        wanted = " AND ".join(["TRUE", *(part for part, _ in parts)])
        values = [value for _, bound in parts for value in bound]
        query = f"SELECT payload, vector <=> %s::vector AS distance FROM {{}} WHERE {wanted} ORDER BY distance LIMIT %s"
        found = self._run(query, [json.dumps(vector), *values, k])
        return ((to_chunk(payload), 1 - float(distance)) for payload, distance in found)

    def _run(self, query: str, values: Sequence[Any] = ()) -> Any:
        return self._database.execute(self._sql.SQL(query).format(self._table), values)


def _condition(one: Condition) -> tuple[str, list[Any]]:
    """Return SQL on JSON values as such: they compare as numbers or as texts, and are never equal across kinds."""
    key, values = field(one), [json.dumps(value) for value in one.values]
    if one.operator in SQL_SIGNS:
        kind = "string" if isinstance(one.value, str) else "number"
        compare = f"(payload -> %s {SQL_SIGNS[one.operator]} %s::jsonb AND jsonb_typeof(payload -> %s) = %s)"
        return compare, [key, values[0], key, kind]
    among = "COALESCE(payload -> %s = ANY(%s::jsonb[]), FALSE)"
    return f"NOT {among}" if one.operator in ("ne", "nin") else among, [key, values]
