"""Conditions on metadata: checked once, then matched in Python or turned into SQL with bound parameters.

A filter comes from outside (a flag, a request), so its names and values are never put into the text of a query.
The rules are the same for every store: a missing field equals nothing, so "ne" and "nin" hold for it and no other
does; numbers compare with numbers only, and texts with texts.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Any, get_args

from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk, Scalar
from seedbed.search.contracts import Filter

OWN_FIELDS = ("source", "page", "heading")
"""Fields that every chunk has; other fields are metadata."""
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {"gt": gt, "gte": ge, "lt": lt, "lte": le}
SQL_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
"""The comparisons by order, as SQL writes them."""
MOST_VALUES = 1000
"""Values of one filter: each is bound, and compared with every chunk."""
MOST_LETTERS = 200
"""Characters of a field's name."""
OPERATORS = ("eq", "ne", *_COMPARE, "in", "nin")


@dataclass(frozen=True)
class Condition:
    """One condition; ``value`` is a tuple for "in" and "nin", else a scalar."""

    field: str
    operator: str
    value: Scalar | tuple[Scalar, ...]

    @property
    def values(self) -> tuple[Scalar, ...]:
        """All its values."""
        return self.value if isinstance(self.value, tuple) else (self.value,)


def conditions(where: Filter | None) -> tuple[Condition, ...]:
    """Read a filter. Raises UsageError: an operator is unknown, or a field or value is not allowed."""
    found: list[Condition] = []
    left = MOST_VALUES
    for field, wanted in (where or {}).items():
        if not isinstance(field, str) or not field or not field.isprintable() or '"' in field or "\\" in field:
            why = "a name has no quotation mark, backslash or control character"
            raise _refuse(f"{reprlib.repr(field)} cannot be a field", why)
        if len(field) > MOST_LETTERS:
            raise _refuse("a field's name is too long", f"it has {len(field)} characters of {MOST_LETTERS}")
        pairs = wanted.items() if hasattr(wanted, "items") else [("eq", wanted)]
        for sign, value in pairs:
            left -= max(1, len(value)) if isinstance(value, Sized) and not isinstance(value, str) else 1
            if left < 0:
                raise _refuse("the filter has too many values", f"at most {MOST_VALUES} are compared with")
            found.append(Condition(field, sign, _value(field, sign, value)))
    return tuple(found)


def matches(chunk: Chunk, where: Sequence[Condition]) -> bool:
    """Tell whether all conditions hold for a chunk."""
    return all(_holds(chunk, one) for one in where)


def to_sql(where: Filter | None) -> tuple[str, list[Any]]:
    """Return a filter as an SQL expression on the table ``chunks``, and the parameters to bind."""
    parts, parameters = ["1"], list[Any]()
    for one in conditions(where):
        part, bound = _condition_sql(one)
        parts.append(part)
        parameters += bound
    return " AND ".join(parts), parameters


def _condition_sql(one: Condition) -> tuple[str, list[Any]]:
    own = one.field in OWN_FIELDS
    field = f"chunks.{one.field}" if own else "json_extract(chunks.metadata, ?)"  # the name is one of OWN_FIELDS
    path = [] if own else [f'$."{one.field}"']
    if one.operator in SQL_SIGNS:
        kinds = "('text')" if isinstance(one.value, str) else "('integer', 'real')"
        return f"({field} {SQL_SIGNS[one.operator]} ? AND typeof({field}) IN {kinds})", [*path, one.value, *path]
    if one.operator in ("eq", "ne"):
        return f"{field} IS {'NOT ' if one.operator == 'ne' else ''}?", [*path, one.value]
    marks = ", ".join("?" * len(one.values))
    missing = f"{field} IS NULL OR " if one.operator == "nin" else ""
    sign = "NOT IN" if one.operator == "nin" else "IN"
    return f"({missing}{field} {sign} ({marks}))", [*(path if missing else []), *path, *one.values]


def _holds(chunk: Chunk, one: Condition) -> bool:
    found = getattr(chunk, one.field) if one.field in OWN_FIELDS else chunk.metadata.get(one.field)
    if one.operator in _COMPARE:
        alike = found is not None and isinstance(found, str) == isinstance(one.value, str)
        return alike and _COMPARE[one.operator](found, one.value)
    return (found in one.values) == (one.operator in ("eq", "in"))


def _value(field: str, sign: str, value: Any) -> Scalar | tuple[Scalar, ...]:
    if sign not in OPERATORS:
        raise _refuse(
            f"there is no operator {reprlib.repr(sign)} (on {field})", f"the operators are {', '.join(OPERATORS)}"
        )
    if sign in ("in", "nin"):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _refuse(f"{field}: {sign!r} needs a list", f"it got {reprlib.repr(value)}")
        return tuple(_scalar(field, one) for one in value)
    return _scalar(field, value)


def _scalar(field: str, value: Any) -> Scalar:
    fits = isinstance(value, get_args(Scalar)) and (isinstance(value, str) or abs(value) < 2**63)  # not NaN either
    if not fits:
        raise _refuse(
            f"{field} cannot be compared with {reprlib.repr(value)}", "a value is a text, a number, true or false"
        )
    found: Scalar = value
    return found


def _refuse(what: str, why: str) -> UsageError:
    return UsageError(what, why=why, fix='write conditions such as {"year": {"gte": 2020}}')
