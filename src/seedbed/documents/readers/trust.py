"""Checks of small pages and mails: may they be parsed in our own process?

The parsers of both take time that grows with the square of what is nested or broken in them: 16 kB of ``<p>`` keep
Beautiful Soup busy for seconds. A page with few tags, hardly nested and hardly broken is parsed here; any other goes to
a process of its own, which is capped. Counting is by bytes and linear.
"""

from __future__ import annotations

import re

_TAG = re.compile(rb"<(/?)([a-zA-Z][^\s/<>]*)[^<>]*>")
_VOID = frozenset(b"area base br col embed hr img input link meta param source track wbr".split())
_MAX_TAGS, _MAX_DEPTH, _MAX_BROKEN = 5_000, 300, 200
_HEADER = re.compile(rb"\r?\n(?![ \t])")
_MAX_HEADER = 2_000
"""Bytes of a line of a mail, folded ones counted as one: headers are parsed by recursion."""


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


def is_simple_mail(data: bytes) -> bool:
    """Return whether a mail has no long header; a page inside it is looked at when it is read."""
    return all(len(line) <= _MAX_HEADER for line in _HEADER.split(data))
