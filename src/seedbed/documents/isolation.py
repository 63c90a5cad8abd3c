"""Parse one file in a process of its own, with caps on time, memory and output that the parser cannot get around.

The child gets the open file as its standard input, the name that the documents shall have, and the limits; it answers
with JSON on its standard output, which is a temporary file. A fresh process for each file costs about a fifth of a
second, and one bad file can neither slow down nor taint the next. It is a fence against bombs and crashes, not a
sandbox: the child has the rights of the user. On systems without ``resource`` (Windows) only time is capped.

Small pages and mails may be parsed in our own process, if they are simple. The parsers of both take time that grows
with the square of what is nested or broken in them: 16 kB of ``<p>`` keep Beautiful Soup busy for seconds. Whether a
page has few tags, hardly nested and hardly broken, is counted by bytes, in linear time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from seedbed.core import errors
from seedbed.core.errors import SeedbedError
from seedbed.documents.document import Document, Heading
from seedbed.documents.limits import Limits, too_large, unreadable
from seedbed.documents.readers import Item, Skipped

_CHILD = "seedbed.documents.isolated_reader"
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
    order = {"format": format_name, "source": source, "limits": dataclasses.asdict(limits)}
    command = [sys.executable, "-P", "-m", _CHILD, json.dumps(order)]
    with tempfile.TemporaryFile() as result:
        process = subprocess.Popen(
            command, stdin=stream, stdout=result, stderr=subprocess.DEVNULL, env=_environment(), close_fds=True
        )
        try:
            code = process.wait(limits.seconds)
        except subprocess.TimeoutExpired as error:
            raise too_large(source, f"parsing took more than {limits.seconds:g} s", "seconds") from error
        finally:
            process.kill()
            process.wait()
        result.seek(0)
        answer = result.read()
    if len(answer) >= limits.output_bytes:  # cut off there by the system
        raise too_large(source, f"it gives more than {limits.text_chars:,} characters", "text_chars")
    if code != 0:
        raise _death(code, source, limits)
    yield from _items(json.loads(answer))


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


def _environment() -> dict[str, str]:
    """Return our environment with this process's import folders; one thread is enough, and threads reserve memory."""
    folders = [folder or os.getcwd() for folder in sys.path]  # noqa: PTH109
    return os.environ | {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}


def _death(code: int, source: str, limits: Limits) -> SeedbedError:
    if code == -getattr(signal, "SIGXCPU", 0):
        return too_large(source, f"parsing took more than {limits.seconds:g} s of processor time", "seconds")
    if code == -signal.SIGKILL:
        return too_large(source, "the system stopped the parser, most likely for its memory", "memory_bytes")
    return unreadable(source, f"the parser crashed on it (exit code {code})")


def _items(found: dict[str, Any]) -> Iterator[Item]:
    if "error" in found:
        kind, what, why, fix = found["error"]
        raise getattr(errors, kind)(what, why=why, fix=fix)
    for item in found["items"]:
        if "reason" in item:
            yield Skipped(**item)
        else:
            headings = tuple(Heading(*heading) for heading in item.pop("headings"))
            yield Document(pages=tuple(item.pop("pages")), headings=headings, **item)
