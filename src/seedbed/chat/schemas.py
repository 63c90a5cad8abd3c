"""JSON schemas as grammars can keep them.

Objects hold what their schema declares. JSON Schema allows any further property where a schema does not speak of them,
and a small model would write them. OpenAI's strict mode therefore asks for ``additionalProperties: false`` everywhere;
here it is what silence means, as many clients send schemas that leave it out.

``oneOf`` is read as ``anyOf``: a value that follows two of the forms is not refused. What else no grammar can keep,
such as ``uniqueItems``, is left out and named; llguidance says what it knows (its ``lenient`` mode warns of the rest).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

_MAPS, _SINGLE = ("properties", "$defs", "definitions"), ("items", "additionalProperties")
_CHOICES = {"anyOf", "oneOf"}
_SPREAD = {"allOf", "not", "if", "dependentSchemas", "unevaluatedProperties", "$dynamicRef"}
_SPOKEN = {"additionalProperties", "patternProperties", "minProperties"}
_DATA = {"const", "enum", "default", "example", "examples"}
"""Keywords whose values are no schemas."""
_NOTHING = {"uniqueItems": False, "unevaluatedProperties": True, "unevaluatedItems": True}
"""Values of keywords that ask for nothing."""


def strict_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema that allows only declared properties; whatever follows it follows ``schema`` too.

    A schema that spreads an object's properties over several places is left as it is: none of them knows the others.
    """
    return schema if _is_spread(schema) else _close(schema)


def _is_spread(part: Any) -> bool:
    if isinstance(part, list):
        return any(map(_is_spread, part))
    if not isinstance(part, dict):
        return False
    shared = "properties" in part and not part.keys().isdisjoint({"$ref", *_CHOICES})
    return shared or not part.keys().isdisjoint(_SPREAD) or any(map(_is_spread, part.values()))


def _close(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for key in found.keys() & _MAPS:
        if isinstance(found[key], dict):
            found[key] = {name: _close(one) for name, one in found[key].items()}
    for key in found.keys() & _SINGLE:
        found[key] = _close(found[key])
    for key in found.keys() & _CHOICES:
        if isinstance(found[key], list):
            found[key] = [_close(one) for one in found[key]]
    if found.keys().isdisjoint(_SPOKEN) and _declares_all(found.get("properties"), found.get("required", [])):
        found["additionalProperties"] = False
    return found


def _declares_all(properties: Any, required: Any) -> bool:
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return all(isinstance(name, str) and name in properties for name in required)


def enforceable(schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a schema that a grammar can keep, and the keywords of ``schema`` that it does not.

    Raises UsageError for what is no JSON schema, or refers to one that is not in it.
    """
    text, left = _enforceable(json.dumps(schema))
    found: dict[str, Any] = json.loads(text)
    return found, list(left)


@lru_cache(maxsize=256)  # clients send the same tools with every request
def _enforceable(text: str) -> tuple[str, tuple[str, ...]]:
    from seedbed.inference.grammar import check_schema  # loads its library: not before a schema is used

    schema = json.loads(text)
    for part in _parts(schema):
        for name in [one for one, value in _NOTHING.items() if part.get(one) is value]:
            del part[name]
    wrong = [part for part in _parts(schema) if not _is_pattern(part.get("pattern", ""))]
    for part in wrong:
        del part["pattern"]
    schema["x-guidance"] = {"lenient": True}
    text = json.dumps(schema)
    return text, (*check_schema(text), *(["pattern"] if wrong else []))


def _is_pattern(value: object) -> bool:
    from seedbed.inference.grammar import is_regex

    return not isinstance(value, str) or is_regex(value)


def _parts(schema: object) -> Iterator[dict[str, Any]]:
    """Yield the objects of a schema, itself first, but not those of its data."""
    if isinstance(schema, list):
        for one in schema:
            yield from _parts(one)
    elif isinstance(schema, dict):
        yield schema
        for name, one in schema.items():
            if name not in _DATA:
                yield from _parts(one)
