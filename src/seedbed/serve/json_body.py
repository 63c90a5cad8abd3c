"""Bodies of requests: strict JSON in UTF-8, its parts counted before anything is made of them.

A parser makes an object of every ``[`` and ``{`` and of whatever stands between two commas, so their number outside of
texts, which a scan of the bytes finds, bounds its work and memory. The value that is checked here is the one that
routes read: no second parser may see the bytes differently.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from seedbed.serve.errors import refuse

MOST_NESTED = 50_000
"""Lists and objects of a body."""
MOST_VALUES = 500_000
"""Values of a body: enough for its prompts as ids."""
MOST_KEYS = 50_000
"""Keys of a body, each of which may be a mistake to be told."""
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # one that does not end, too: a scan never goes back
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_json(body: bytes, depth: int, declared: str = "application/json") -> Any:
    """Return the value of a body: Unicode text and finite numbers, each key once, nested at most ``depth`` deep.

    ``declared``: the body's type as its sender says, for the error. Raises ApiError for what is not so, or too many.
    """
    _count(body)
    try:
        text = body.decode("utf-8")  # strict: no half of a pair, no UTF-16 or UTF-32, whatever was declared
        value = json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=_object)
        if _SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()  # half of a pair has no bytes
    except (ValueError, RecursionError) as error:
        reason = "it is no UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)[:200]
        why = reason if "json" in declared.lower() else f"{reason} (it was sent as {declared[:80]})"
        raise refuse("the body is not JSON", why=why, fix="send valid JSON, in UTF-8") from error
    level = [value]
    for _ in range(depth):
        nested = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, (dict, list)))
        level = [part for parts in nested for part in parts]
    if any(isinstance(one, (dict, list)) for one in level):
        raise refuse("the body is nested too deeply", why=f"{depth} levels are read", fix="nest less")
    return value


def _count(body: bytes) -> None:
    """Raise ApiError where the bytes hold more lists, objects, values or keys than are read."""
    limits = ((b"[{", MOST_NESTED, "lists and objects"), (b",", MOST_VALUES, "values"), (b":", MOST_KEYS, "keys"))
    if all(_signs(body, signs) < most for signs, most, _ in limits):
        return  # so with the signs in its texts
    bare = _TEXT.sub(b"", body)
    for signs, most, name in limits:
        if _signs(bare, signs) >= most:
            raise refuse(f"the body has too many {name}", why=f"fewer than {most} are read", fix="send less")


def _signs(body: bytes, signs: bytes) -> int:
    return sum(body.count(sign) for sign in signs)


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, whose readers must not disagree on which of two values counts."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)[:100]!r} stands twice")
    return made


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:100]} is no finite number")
    return value


class JsonRoute(APIRoute):
    """A route whose body is the value that was checked, instead of a second reading of its bytes."""

    def get_route_handler(self) -> Any:
        """Return the handler, asked with a request that knows its value."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            found: Response = await handle(_Checked(request.scope, request.receive))
            return found

        return checked


class _Checked(Request):
    async def json(self) -> Any:
        return self.scope["seedbed.json"]


class BodyShares:
    """The bytes of bodies that are held for requests, all together and by owner.

    An owner may hold as many as are left free, so that a body of another still finds room. Only the event loop counts.
    """

    def __init__(self, most: int) -> None:
        self._most, self._held = most, dict[str, int]()

    def take(self, owner: str, size: int) -> bool:
        """Count so many bytes more, if an owner's share has room for them."""
        own = self._held.get(owner, 0) + size
        if own > self._most - sum(self._held.values()) - size:
            return False
        self._held[owner] = own
        return True

    def give_back(self, owner: str, size: int) -> None:
        """Count them no longer."""
        left = self._held.get(owner, 0) - size
        if left > 0:
            self._held[owner] = left
        else:
            self._held.pop(owner, None)
