"""Strict schemas: what they leave out, and what they must leave open."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from serving import Live

from seedbed.chat.rendering import strict_schema

CAT: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}}
ARRAY = {"type": "array", "items": {"$ref": "#/$defs/cat"}}
LITTER = {
    "type": "object",
    "properties": {"cats": ARRAY, "owner": {"anyOf": [CAT, {"type": "null"}]}},
    "$defs": {"cat": CAT},
}


@pytest.mark.parametrize(
    ("schema", "added"),
    [
        (CAT, {"name": "Mia", "age": 3}),
        (LITTER, {"cats": [{"name": "Mia", "age": 3}]}),
        (LITTER, {"cats": [], "owner": {"age": 3}}),
        ({"type": "object", "additionalProperties": CAT}, {"any": {"age": 3}}),
    ],
)
def test_only_declared_properties_are_allowed(schema: dict[str, Any], added: dict[str, Any]) -> None:
    assert jsonschema_rs.is_valid(schema, added)
    assert not jsonschema_rs.is_valid(strict_schema(schema), added)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "object"}, {"any": 1}),
        ({**CAT, "additionalProperties": True}, {"any": 1}),
        ({**CAT, "required": ["age"]}, {"age": 3}),
        ({**CAT, "minProperties": 2}, {"name": "Mia", "age": 3}),
        ({**CAT, "patternProperties": {"^x": {}}}, {"x1": 1}),
        ({"allOf": [CAT, {"properties": {"age": {}}}]}, {"name": "Mia", "age": 3}),
        ({**CAT, "anyOf": [{"properties": {"age": {}}, "required": ["age"]}]}, {"name": "Mia", "age": 3}),
        ({"allOf": [{"$ref": "#/$defs/cat"}, {"required": ["age"]}], "$defs": {"cat": CAT}}, {"age": 3}),
        ({"const": CAT}, CAT),
        ({"type": "array", "items": True}, [{"any": 1}]),
    ],
)
def test_what_a_schema_needs_stays_allowed(schema: dict[str, Any], value: Any) -> None:
    assert jsonschema_rs.is_valid(schema, value)
    assert jsonschema_rs.is_valid(strict_schema(schema), value)


def test_a_reply_adds_properties_only_where_asked_to(live: Live) -> None:
    def ask(seed: int, **more: Any) -> dict[str, Any]:
        schema = {"type": "object", "properties": {"name": {"const": "Mia"}}, "required": ["name"], **more}
        form = {"type": "json_schema", "json_schema": {"name": "cat", "schema": schema}}
        body = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 2.0, "seed": seed}
        text = live.ok("/v1/chat/completions", **body, response_format=form)["choices"][0]["message"]["content"]
        found: dict[str, Any] = json.loads(text)
        return found

    assert all(ask(seed) == {"name": "Mia"} for seed in range(6))
    assert any(len(ask(seed, additionalProperties=True)) > 1 for seed in range(6))


def test_a_call_has_no_arguments_but_the_declared_ones(live: Live) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    body = {"messages": [{"role": "user", "content": "Hi"}], "tools": [tool], "tool_choice": "required"}
    for seed in range(4):
        [choice] = live.ok("/v1/chat/completions", **body, temperature=2.0, seed=seed)["choices"]
        assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {}
