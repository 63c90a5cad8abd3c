"""Server-sent events, of which a streamed reply is made (WHATWG HTML, 9.2).

Only their data is read. Lines end with a line feed, before which a carriage return may stand: the line ends of Unicode,
at which some clients cut, may stand inside a JSON text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from seedbed.chat.failures import strange

MAX_LINE = 16 << 20
"""Bytes of a line."""


def sse_data(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each event. One that does not end with an empty line was cut off and is none.

    Raises:
        RemoteError: a line is longer than anything a model writes.
    """
    data: list[str] = []
    for line in _lines(chunks):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" ").decode("utf-8", "replace"))
        elif not line and data:
            yield "\n".join(data)
            data = []


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for chunk in chunks:
        *whole, held = (held + chunk).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        if len(held) > MAX_LINE:
            raise strange("the stream", f"a line of more than {MAX_LINE >> 20} MiB")
    if held:
        yield held
