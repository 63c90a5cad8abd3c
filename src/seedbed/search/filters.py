"""Conditions on metadata: checked once, then matched in Python or turned into SQL with bound parameters.

A filter comes from outside (a flag, a request), so its names and values are never put into the text of a query.
The rules are the same for every store: a missing field equals nothing, so "ne" and "nin" hold for it and no other
does; numbers compare with numbers only, and texts with texts.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
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
MAX_CONDITIONS, MAX_VALUES, MAX_CHARS = 50, 1_000, 10_000
"""The most conditions of a filter, values of all its lists together, and characters of a name or a value."""
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
    """Read a filter. Raises UsageError: an operator is unknown, a field or value is not allowed, or there are too many.

    Sizes are looked at before anything else: what is refused has cost nothing.
    """
    found: list[Condition] = []
    values = 0
    for field, wanted in (where or {}).items():
        _check_field(field)
        pairs = wanted.items() if hasattr(wanted, "items") else [("eq", wanted)]
        if len(found) + len(pairs) > MAX_CONDITIONS:
            raise _refuse(
                f"the filter has more than {MAX_CONDITIONS} conditions", "each is asked of every chunk", _LESS
            )
        for sign, value in pairs:
            values += len(value) if isinstance(value, Sequence) and not isinstance(value, str) else 1
            if values > MAX_VALUES:
                why = "each is compared with every chunk"
                raise _refuse(f"the filter has more than {MAX_VALUES:,} values", why, _LESS)
            found.append(Condition(field, sign, _value(field, sign, value)))
    return tuple(found)


def _check_field(field: object) -> None:
    if isinstance(field, str) and len(field) > MAX_CHARS:
        raise _too_long(f"a field's name has {len(field):,} characters")
    if not isinstance(field, str) or not field or not field.isprintable() or '"' in field or "\\" in field:
        why = "a name has no quotation mark, backslash or control character"
        raise _refuse(f"{_shown(field)} cannot be a field", why)


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
            f"there is no operator {_shown(sign)} (on {_shown(field)})", f"the operators are {', '.join(OPERATORS)}"
        )
    if sign in ("in", "nin"):
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise _refuse(f"{_shown(field)}: {sign!r} needs a list", f"it got {_shown(value)}")
        return tuple(_scalar(field, one) for one in value)
    return _scalar(field, value)


def _scalar(field: str, value: Any) -> Scalar:
    if isinstance(value, str) and len(value) > MAX_CHARS:
        raise _too_long(f"a value of {_shown(field)} has {len(value):,} characters")
    fits = isinstance(value, get_args(Scalar)) and (isinstance(value, str) or abs(value) < 2**63)  # not NaN either
    if not fits:
        raise _refuse(
            f"{_shown(field)} cannot be compared with {_shown(value)}", "a value is a text, a number, true or false"
        )
    found: Scalar = value
    return found


def _shown(value: object) -> str:
    """Return a name or value for an error, cut short; parts of a large one are not spelled out at all."""
    return reprlib.repr(value)


def _too_long(what: str) -> UsageError:
    return _refuse(what, f"names and values have at most {MAX_CHARS:,}", "compare with something shorter")


_LESS = "ask for a range (gte, lte), or give the chunks that belong together a field of their own"


def _refuse(what: str, why: str, fix: str = 'write conditions such as {"year": {"gte": 2020}}') -> UsageError:
    return UsageError(what, why=why, fix=fix)
