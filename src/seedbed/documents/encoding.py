"""Which encoding a stream of bytes is in, and whether it is text at all.

A byte-order mark decides; then strict UTF-8 over the whole stream; then charset-normalizer on a sample. A text that
is UTF-8 but for a few broken bytes stays UTF-8 (the broken bytes become U+FFFD): guessing a one-byte encoding for it
would spoil every good character.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

import charset_normalizer

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
MAX_CONTROL_SHARE = 0.01


def detect_encoding(stream: BinaryIO) -> str | None:
    """The encoding of a stream, which is read to its end; None for binary data."""
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    first, sample = True, b""
    for block in _blocks(stream):
        if first:
            for mark, encoding in _MARKS:
                if block.startswith(mark):
                    return encoding
        first = False
        if looks_binary(block):
            return None
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            sample = block[max(0, error.start - _SAMPLE) : error.start + _SAMPLE]
            return _guess(sample)
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:  # the last character is cut off
        return "utf-8"
    return "utf-8"


def looks_binary(block: bytes) -> bool:
    """Whether bytes hold a NUL, or more control characters than text does."""
    if b"\0" in block:
        return True
    controls = len(block) - len(block.translate(None, _CONTROLS))
    return controls > MAX_CONTROL_SHARE * len(block)


def _guess(sample: bytes) -> str | None:
    text = sample.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    good = sum(character > "\x7f" for character in text) - broken
    if good > 10 * broken:
        return "utf-8"
    best = charset_normalizer.from_bytes(sample).best()
    return best.encoding if best is not None else "cp1252"


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    while block := stream.read(_BLOCK):
        yield block
