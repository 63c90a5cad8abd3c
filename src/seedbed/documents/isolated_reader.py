"""The side of :mod:`~seedbed.documents.isolation` that runs in the capped child: parse standard input."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pkgutil import resolve_name
from typing import Any

from seedbed.documents.document import Document, tidy
from seedbed.documents.limits import Limits, too_large
from seedbed.documents.readers import Item, Reader, Skipped


def read(format_name: str, source: str, limits: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the items that the reader of a format gives for standard input, a file, as plain values."""
    caps = Limits(**limits)
    with os.fdopen(os.dup(0), "rb") as stream:
        stream.seek(0)
        reader: Reader = resolve_name(f"seedbed.documents.readers.{format_name}")
        return [_plain(item) for item in bounded(reader(stream, source, caps), caps)]


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
