"""Strict schemas: the objects a model writes hold what the schema declares, and nothing it made up.

JSON Schema allows any further property where a schema does not speak of them, and a small model would write them.
OpenAI's strict mode therefore asks for ``additionalProperties: false`` everywhere; here it is what silence means, as
many clients send schemas that leave it out. ``additionalProperties: true`` allows others.
"""

from __future__ import annotations

from typing import Any

_MAPS, _SINGLE = ("properties", "$defs", "definitions"), ("items", "additionalProperties")
_SPREAD = {"allOf", "oneOf", "not", "if", "dependentSchemas", "unevaluatedProperties", "$dynamicRef"}
_SPOKEN = {"additionalProperties", "patternProperties", "minProperties"}


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
    shared = "properties" in part and not part.keys().isdisjoint({"$ref", "anyOf"})
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
    if isinstance(found.get("anyOf"), list):
        found["anyOf"] = [_close(one) for one in found["anyOf"]]
    if found.keys().isdisjoint(_SPOKEN) and _declares_all(found.get("properties"), found.get("required", [])):
        found["additionalProperties"] = False
    return found


def _declares_all(properties: Any, required: Any) -> bool:
    if not isinstance(properties, dict) or not isinstance(required, list):
        return False
    return all(isinstance(name, str) and name in properties for name in required)
