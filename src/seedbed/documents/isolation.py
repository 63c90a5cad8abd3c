"""Parse one file in a capped child of its own (:mod:`seedbed.core.sandbox`): none slows down or taints the next.

The child gets the open file as its standard input, the name that the documents shall have, and the limits. A fresh one
for each file costs about a fifth of a second.

Small pages and mails may be parsed in our own process, if they are simple. The parsers of both take time that grows
with the square of what is nested or broken in them: 16 kB of ``<p>`` keep Beautiful Soup busy for seconds. Whether a
page has few tags, hardly nested and hardly broken, is counted by bytes, in linear time.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import BinaryIO

from seedbed.core import sandbox
from seedbed.core.errors import SeedbedError
from seedbed.documents.document import Document, Heading
from seedbed.documents.limits import Limits, too_large, unreadable
from seedbed.documents.readers import Item, Skipped

_READER = "seedbed.documents.isolated_reader:read"
_TAG = re.compile(rb"<(/?)([a-zA-Z][^\s/<>]*)[^<>]*>")
_VOID = frozenset(b"area base br col embed hr img input link meta param source track wbr".split())
_MAX_TAGS, _MAX_DEPTH, _MAX_BROKEN = 5_000, 300, 200
_HEADER = re.compile(rb"\r?\n(?![ \t])")
_MAX_HEADER = 2_000
"""Bytes of a line of a mail, folded ones counted as one: headers are parsed by recursion."""


def read_isolated(format_name: str, stream: BinaryIO, source: str, limits: Limits) -> Iterator[Item]:
    """Yield the items that the reader of a format gives for a stream, which must be a real file.

    Raises:
        DataError: the file is damaged or locked, or makes the parser crash.
        CapacityError: it breaks a limit.
    """
    order = {"format_name": format_name, "source": source, "limits": dataclasses.asdict(limits)}
    budget = sandbox.Budget(limits.seconds, limits.memory_bytes, limits.output_bytes)
    try:
        found = sandbox.run(_READER, order, budget, stream)
    except sandbox.OutOfBudget as error:
        raise _broken(error, source, limits) from error
    for item in found:
        if "reason" in item:
            yield Skipped(**item)
        else:
            headings = tuple(Heading(*heading) for heading in item.pop("headings"))
            yield Document(pages=tuple(item.pop("pages")), headings=headings, **item)


def is_simple(format_name: str, data: bytes) -> bool:
    """Return whether parsing a small file in our own process cannot take long."""
    if format_name.startswith("mail:"):  # no long header; a page inside it is looked at when it is read
        return all(len(line) <= _MAX_HEADER for line in _HEADER.split(data))
    return format_name != "html:read" or is_simple_page(data)


def is_simple_page(data: bytes) -> bool:
    """Return whether a page has few tags, and few of them inside each other or broken."""
    depth = tags = 0
    for tag in _TAG.finditer(data):
        tags += 1
        if tag[1]:
            depth -= depth > 0
        elif tag[2].lower() not in _VOID and not tag[0].endswith(b"/>"):
            depth += 1
        if depth > _MAX_DEPTH or tags > _MAX_TAGS:
            return False
    return data.count(b"<") - tags <= _MAX_BROKEN


def _broken(error: sandbox.OutOfBudget, source: str, limits: Limits) -> SeedbedError:
    match error.cause:
        case "seconds":
            return too_large(source, f"parsing took more than {limits.seconds:g} s", "seconds")
        case "memory":
            why = f"parsing needs more than {limits.memory_bytes:,} bytes of memory, or the system stopped it"
            return too_large(source, why, "memory_bytes")
        case "output":
            return too_large(source, f"it gives more than {limits.text_chars:,} characters", "text_chars")
        case "depth":
            return unreadable(source, "its parts are nested too deeply")
        case "raised":  # parsers of damaged files raise anything
            return unreadable(source, f"it is damaged: {error.why}")
        case "crash":
            return unreadable(source, f"the parser crashed on it: {error.why}")
