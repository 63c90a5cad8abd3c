"""Text from bytes: the encoding of a stream is detected, and binary data is told from text.

A byte-order mark decides; then strict UTF-8 over the whole stream; then charset-normalizer on a sample. A text that
is UTF-8 but for a few broken bytes stays UTF-8 (the broken bytes become U+FFFD): guessing a one-byte encoding for it
would spoil every good character.
"""

from __future__ import annotations

import codecs
import io
import os
from typing import BinaryIO

from seedbed.documents.limits import Limits, too_large, unreadable

_BLOCK = 1 << 20
_SAMPLE = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TEXT_CONTROLS = b"\t\n\r\f\x0b\x1b\x08"  # escape and backspace occur in logs and manual pages
_CONTROLS = bytes(code for code in range(32) if code not in _TEXT_CONTROLS)
MAX_CONTROL_SHARE, MAX_NUL_SHARE = 0.01, 0.05
_STRAY = 2  # so many are no sign in a short text


def open_text(
    stream: BinaryIO, source: str, limits: Limits, newline: str | None = None, encoding: str = ""
) -> io.TextIOWrapper:
    """Return a stream of bytes as text, from its beginning, with U+FFFD for bytes that are no characters.

    Args:
        newline: as for :func:`open`.
        encoding: detected when not given; given, the stream is taken as it stands and need not be rewound.

    Raises:
        DataError: it is binary.
        CapacityError: it has more bytes than ``limits.text_bytes``.
    """
    if not encoding:
        if stream.seek(0, os.SEEK_END) > limits.text_bytes:
            raise too_large(source, f"it has more than {limits.text_bytes:,} bytes", "text_bytes")
        stream.seek(0)
        encoding = detect_encoding(stream) or ""
        if not encoding:
            raise unreadable(source, "it is binary, not text", "convert it to text, or give it the suffix of its kind")
        stream.seek(0)
    return io.TextIOWrapper(stream, encoding=encoding, errors="replace", newline=newline)


def detect_encoding(stream: BinaryIO) -> str | None:
    """Return the encoding of a stream, which is read to its end; None for binary data."""
    block = stream.read(_BLOCK)
    for mark, encoding in _MARKS:
        if block.startswith(mark):
            return encoding
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    while block:
        if looks_binary(block):
            return None
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            return _guess(block[max(0, error.start - _SAMPLE) : error.start + _SAMPLE])
        block = stream.read(_BLOCK)
    return "utf-8"  # even if the last character is cut off


def looks_binary(block: bytes) -> bool:
    """Return whether bytes hold more control characters, or more NULs, than a text does that has a few by mistake."""
    nuls = block.count(0)
    controls = len(block) - len(block.translate(None, _CONTROLS)) - nuls
    if nuls + controls <= min(_STRAY, len(block) / 4):
        return False
    return controls > MAX_CONTROL_SHARE * len(block) or nuls > MAX_NUL_SHARE * len(block)


def _guess(sample: bytes) -> str | None:
    text = sample.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    good = sum(character > "\x7f" for character in text) - broken
    if good > 10 * broken:
        return "utf-8"
    import charset_normalizer  # slow to import, and seldom needed

    best = charset_normalizer.from_bytes(sample).best()
    return best.encoding if best is not None else "cp1252"
