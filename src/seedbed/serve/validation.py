"""The field at fault in a request's body, and the reason in plain words.

Where a field may have several forms, pydantic reports an error for each of them. The one to tell is of the form that
went furthest into the body: a list of parts with a wrong second part was meant as a list, not as a text. Where none
went in, all forms are told, beside the kind of value that was sent.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

_FORMS = {
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
}
"""Forms by pydantic's types of errors."""
_KINDS: tuple[tuple[type, str], ...] = ((str, "the text "), (int, "the number "), (float, "the number "))


def explain(errors: Sequence[Mapping[str, Any]], body: object) -> tuple[str | None, str]:
    """Return the field at fault, None for the body itself, and one sentence on it.

    Args:
        errors: as pydantic lists them, with FastAPI's "body" or "query" before each place.
        body: the value that was read.
    """
    places = [_place(error["loc"][1:], body, error["type"] == "missing") for error in errors]
    best = max(places, key=lambda place: (len(place), _numbers(place)))
    here = [error for error, place in zip(errors, places, strict=True) if place == best]
    told = next((error for error in here if _form(error) is None), here[0])
    field = told.get("ctx", {}).get("field")
    param = ".".join(map(str, (*best, *([field] if field else [])))) or None
    return param, f"{param or 'the body'}: {_reason(told, here)}"


def _numbers(place: Sequence[object]) -> tuple[int, ...]:
    """Return the places in lists: the further an error stands, the more of the list was right."""
    return tuple(one for one in place if isinstance(one, int))


def _place(loc: Sequence[str | int], body: object, absent: bool) -> tuple[str | int, ...]:
    """Return a place without the names of forms that pydantic writes between keys.

    ``absent``: the last part may name a key that the body lacks.
    """
    found: list[str | int] = []
    for number, part in enumerate(loc):
        inside = part in body if isinstance(body, Mapping) else isinstance(body, list) and part in range(len(body))
        if inside:
            body = body[part]  # type: ignore[index]
        elif not (absent and number == len(loc) - 1 and isinstance(body, Mapping)):
            continue
        found.append(part)
    return tuple(found)


def _reason(told: Mapping[str, Any], here: Sequence[Mapping[str, Any]]) -> str:
    """Return the message of one error, or the forms that all errors of its place ask for."""
    if told["type"] == "missing":
        return "it is missing"
    if told["type"] == "union_tag_invalid":
        return f"a type {told['ctx']['tag'][:100]!r} was sent; {told['ctx']['expected_tags']} are read here"
    if _form(told) is None:
        return str(told["msg"])
    wanted = list(dict.fromkeys(str(_form(error)) for error in here))
    listed = " or ".join([", ".join(wanted[:-1]), wanted[-1]] if len(wanted) > 1 else wanted)
    return f"{listed} is read here; {_sent(told['input'])} was sent"


def _form(error: Mapping[str, Any]) -> str | None:
    """Return the form of a value that an error asks for; None where it is about something else."""
    if error["type"] == "literal_error":
        return str(error["ctx"]["expected"])
    return _FORMS.get(error["type"])


def _sent(value: object) -> str:
    """Return the kind of a value, with a number or the beginning of a text itself."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    named = next((words + reprlib.repr(value) for kind, words in _KINDS if isinstance(value, kind)), None)
    return named or ("a list" if isinstance(value, list) else "an object")
