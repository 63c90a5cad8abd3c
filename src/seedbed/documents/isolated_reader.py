"""The process that parses one file: ``python -m seedbed.documents.isolated_reader ORDER``; see ``isolation``.

It caps itself before it imports a parser. What parsers print goes nowhere: standard output is for the answer alone.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pkgutil import resolve_name
from typing import Any

from seedbed.core.errors import SeedbedError
from seedbed.documents.document import Document, tidy
from seedbed.documents.limits import Limits, too_large, unreadable
from seedbed.documents.readers import Item, Reader, Skipped


def main(order_text: str) -> None:
    """Read standard input as the order says, and answer with the items or the error."""
    order = json.loads(order_text)
    limits = Limits(**order["limits"])
    restrict(limits)
    answer = os.dup(1)
    os.dup2(2, 1)
    with os.fdopen(answer, "w", encoding="utf-8") as out:
        json.dump(_answer(order["format"], order["source"], limits), out, ensure_ascii=False)


def restrict(limits: Limits) -> None:
    """Cap this process. A limit that the system does not know or lowers by itself stays as it is."""
    if sys.platform == "win32":
        return
    import resource

    caps = {"AS": limits.memory_bytes, "CPU": math.ceil(limits.seconds) + 1, "FSIZE": limits.output_bytes, "CORE": 0}
    for name, cap in caps.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (cap, cap + (name == "CPU")))


def _answer(format_name: str, source: str, limits: Limits) -> dict[str, Any]:
    try:
        with os.fdopen(os.dup(0), "rb") as stream:
            stream.seek(0)
            reader: Reader = resolve_name(f"seedbed.documents.readers.{format_name}")
            return {"items": [_plain(item) for item in bounded(reader(stream, source, limits), limits)]}
    except SeedbedError as error:
        found = error
    except MemoryError:
        found = too_large(source, f"parsing needs more than {limits.memory_bytes:,} bytes of memory", "memory_bytes")
    except RecursionError:
        found = unreadable(source, "its parts are nested too deeply")
    except Exception as error:  # parsers of damaged files raise anything
        found = unreadable(source, f"it is damaged: {error or type(error).__name__}")
    return {"error": [type(found).__name__, found.what, found.why, found.fix]}


def bounded(items: Iterable[Item], limits: Limits) -> Iterator[Item]:
    """Yield items. Raises CapacityError when their texts have more characters than ``limits.text_chars``."""
    total = 0
    for item in items:
        if isinstance(item, Document):
            total += len(item.text)
            if total > limits.text_chars:
                raise too_large(item.source, f"it has more than {limits.text_chars:,} characters of text", "text_chars")
        yield item


def _plain(item: Item) -> dict[str, Any]:
    if isinstance(item, Skipped):
        return vars(item)
    item = tidy(item)
    found = {name: getattr(item, name) for name in ("source", "text", "title", "pages", "metadata")}
    return found | {"headings": [(heading.start, heading.level, heading.text) for heading in item.headings]}


if __name__ == "__main__":
    main(sys.argv[1])
