"""Filters: what they mean in Python, that SQL means the same, and that nothing of them reaches the text of a query."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.search.filters import MOST_LETTERS, MOST_VALUES, OPERATORS, Condition, conditions, matches, to_sql


def chunk(source: str = "a.txt", page: int | None = None, **metadata: Any) -> Chunk:
    return Chunk(source, 0, 1, "x", page, "Top", metadata)


def chosen_by_sql(chunks: list[Chunk], where: dict[str, Any]) -> list[Chunk]:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE chunks (place, source, page, heading, metadata)")
    rows = [
        (place, one.source, one.page, one.heading, json.dumps(dict(one.metadata), ensure_ascii=False))
        for place, one in enumerate(chunks)
    ]
    database.executemany("INSERT INTO chunks VALUES (?, ?, ?, ?, ?)", rows)
    condition, parameters = to_sql(where)
    found = database.execute(f"SELECT place FROM chunks WHERE {condition} ORDER BY place", parameters)
    return [chunks[place] for (place,) in found]


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ({}, True),
        ({"year": 2020}, True),
        ({"year": 2020.0}, True),
        ({"year": "2020"}, False),
        ({"year": {"gt": 2019, "lt": 2021}}, True),
        ({"year": {"gt": 2020}}, False),
        ({"year": {"gte": 2020}}, True),
        ({"year": {"gt": "1"}}, False),
        ({"name": {"gt": "Alan"}}, True),
        ({"name": {"lt": 5}}, False),
        ({"name": "ada", "year": 1}, False),
        ({"year": {"in": [1, 2020]}}, True),
        ({"year": {"in": []}}, False),
        ({"year": {"nin": []}}, True),
        ({"year": {"nin": [2020]}}, False),
        ({"year": {"ne": 2020}}, False),
        ({"other": {"ne": 1}}, True),
        ({"other": {"nin": [1]}}, True),
        ({"other": 1}, False),
        ({"other": {"gt": -1}}, False),
        ({"other": {"lt": ""}}, False),
        ({"done": True}, True),
        ({"done": {"ne": True}}, False),
        ({"source": "a.txt"}, True),
        ({"source": {"ne": "a.txt"}}, False),
        ({"page": {"gte": 7}}, True),
        ({"heading": "Top"}, True),
        ({"a.b c-d": 1}, True),
    ],
)
def test_what_a_filter_means(where: dict[str, Any], holds: bool) -> None:
    one = chunk(page=7, year=2020, name="ada", done=True, **{"a.b c-d": 1})
    assert matches(one, conditions(where)) is holds
    assert bool(chosen_by_sql([one], where)) is holds


SCALARS = st.one_of(
    st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, -1.0, 2.5]), st.sampled_from(["", "a", "b", "1", "é"])
)
CONDITIONS = st.one_of(
    SCALARS,
    st.dictionaries(st.sampled_from([one for one in OPERATORS if "in" not in one]), SCALARS, min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["in", "nin"]), st.lists(SCALARS, max_size=3), min_size=1, max_size=2),
)


@given(
    st.lists(st.dictionaries(st.sampled_from(["x", "y", "a.b"]), SCALARS, max_size=3), min_size=1, max_size=5),
    st.dictionaries(st.sampled_from(["x", "y", "a.b", "page", "source"]), CONDITIONS, max_size=3),
)
def test_sql_chooses_what_python_does(metadata: list[dict[str, Any]], where: dict[str, Any]) -> None:
    chunks = [chunk("a" if place % 2 else "b", place or None, **one) for place, one in enumerate(metadata)]
    assert chosen_by_sql(chunks, where) == [one for one in chunks if matches(one, conditions(where))]


@pytest.mark.parametrize("text", ["' OR 1=1 --", "?", "x') OR ('1'='1", "%s", "$.other", "{}", "a.b[0]", "é"])
def test_names_and_values_are_never_part_of_the_query(text: str) -> None:
    query, parameters = to_sql({text: text})
    assert text in parameters
    assert query == "1 AND json_extract(chunks.metadata, ?) IS ?"
    other = chunk(other=1, x=2)
    assert chosen_by_sql([other, chunk(**{text: text})], {text: text}) == [chunk(**{text: text})]


@pytest.mark.parametrize(
    "where",
    [
        {"year": {"$gt": 1}},
        {"year": {"like": "x"}},
        {"year": [1, 2]},
        {"year": None},
        {"year": {"in": "abc"}},
        {"year": {"in": [None]}},
        {"year": {"gt": [1]}},
        {"year": float("nan")},
        {"year": 2**63},
        {'a"b': 1},
        {"": 1},
        {"a\0b": 1},
        {"a\\b": 1},
        {"a\nb": 1},
        {5: 1},
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(where: dict[Any, Any]) -> None:
    for use in (conditions, to_sql, lambda one: matches(chunk(), conditions(one))):
        with pytest.raises(UsageError) as caught:
            use(where)
        assert "gte" in caught.value.fix


def test_conditions_are_read_in_order() -> None:
    assert conditions({"a": 1, "b": {"gt": 2, "in": ["x"]}}) == (
        Condition("a", "eq", 1),
        Condition("b", "gt", 2),
        Condition("b", "in", ("x",)),
    )
    assert conditions(None) == ()


def test_the_values_of_a_filter_are_bounded_together() -> None:
    half = list(range(MOST_VALUES // 2))
    assert len(conditions({"a": {"in": half, "nin": half}})) == 2
    with pytest.raises(UsageError, match="too many values"):
        conditions({"a": {"in": half, "nin": half}, "b": 1})
    with pytest.raises(UsageError, match="too many values"):
        conditions({str(one): {"in": []} for one in range(MOST_VALUES + 1)})


@pytest.mark.parametrize("where", [{"a": {"in": {"x": "y" * 9_000}}}, {"a": {"y" * 9_000: 1}}, {"a": ["y" * 9_000]}])
def test_a_refusal_is_short(where: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        conditions(where)
    assert len(str(caught.value)) < 500
    with pytest.raises(UsageError, match="too long"):
        conditions({"y" * (MOST_LETTERS + 1): 1})
