"""An evenly spread sample of a stream of unknown length, in bounded memory.

Texts are cut into chunks at line ends, and every k-th chunk is kept. When the kept ones exceed the budget, every second
of them is let go and k doubles, so what is kept stays evenly spread over all that was read, and is deterministic.
Every chunk has the same weight, so a sample holds between a half and the whole of the budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

CHUNK = 2**14  # characters of one chunk: small beside any sensible budget, large beside a line


def chunks(texts: Iterable[str], size: int = CHUNK) -> Iterator[str]:
    """Cut texts into runs of whole lines of about ``size`` characters (a longer line is cut where it must be)."""
    for text in texts:
        start = 0
        while start < len(text):
            stop = start + size
            if stop < len(text):
                line_end = text.rfind("\n", start, stop) + 1
                stop = line_end if line_end > start else stop
            yield text[start:stop]
            start = stop


def spread_sample(pieces: Iterable[str], max_bytes: int) -> Iterator[str]:
    """Yield an evenly spread part of ``pieces`` (:func:`chunks`) of at most ``max_bytes`` of UTF-8; all when 0."""
    if max_bytes == 0:
        yield from pieces
        return
    kept: list[tuple[str, int]] = []
    total, stride = 0, 1
    for position, piece in enumerate(pieces):
        if position % stride:
            continue
        kept.append((piece, len(piece.encode("utf-8", "surrogatepass"))))
        total += kept[-1][1]
        while total > max_bytes and len(kept) > 1:
            kept, stride = kept[::2], stride * 2
            total = sum(size for _, size in kept)
    yield from (piece for piece, _ in kept)
