"""Text from bytes: the one place that finds the encoding of a file, a page or a part of a mail.

In this order: the encoding that the user names; a byte-order mark; UTF-16 or UTF-32 without one, known by its zero
bytes; the escapes of ISO-2022; valid UTF-8; the encoding that is declared (by HTTP, HTML, XML, CSS, a mail's part, a
coding line), if all bytes are characters in it; else the likely one (``likely_encoding.py``). Declared names mean what
browsers take them for: ``iso-8859-1`` is Windows-1252, which has quotation marks where Latin-1 has control characters.
Readers get UTF-8: :func:`as_utf8` rewrites other streams.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from seedbed.core.errors import DataError, UsageError
from seedbed.documents.declared_encoding import codec_name, declared_encoding, known_encoding
from seedbed.documents.document import Metadata, Scalar
from seedbed.documents.limits import Limits, too_large, unreadable

Found = Literal["valid", "mark", "given", "declared", "guessed"]
_BLOCK = 1 << 20
_SAMPLE = 1 << 16
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ESCAPES = (
    ("iso2022_jp_ext", re.compile(rb"\x1b(?:\$[@B]|\$\([@BD]|\([IJ])")),
    ("iso2022_kr", re.compile(rb"\x1b\$\)C")),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_WIDE_CERTAINTY = 0.99
_TEXT_CONTROLS = b"\t\n\r\f\x0b\x1b\x08"  # escape and backspace occur in logs and manual pages
_CONTROLS = bytes(code for code in range(32) if code not in _TEXT_CONTROLS)
MAX_CONTROL_SHARE, MAX_NUL_SHARE = 0.01, 0.05
_STRAY = 2  # so many are no sign in a short text
EXAMPLES = (
    *("utf-8", "utf-16", "cp1252", "iso-8859-15", "mac-roman", "cp850", "cp1250", "iso-8859-2", "cp1251", "koi8-r"),
    *("cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp932", "euc-jp", "gb18030", "big5", "cp949"),
)
"""Encodings to name in an error; all of Python's are taken."""


@dataclass(frozen=True)
class Encoding:
    """An encoding by Python's name, what it was found by, and how certain a guess is (0 to 1)."""

    name: str
    found: Found
    certainty: float = 1.0

    def metadata(self, replaced: int) -> Metadata:
        """Return what a document keeps of it: nothing for clean UTF-8.

        Args:
            replaced: how many bytes are no characters in it and became U+FFFD.
        """
        if self.found in ("valid", "mark") and not replaced:
            return {} if self.name.startswith("utf-8") else {"encoding": self.name, "encoding_by": self.found}
        known: Metadata = {"encoding": self.name, "encoding_by": self.found}
        certainty = {"encoding_certainty": round(self.certainty, 2)} if self.found == "guessed" else {}
        return {**known, **certainty, **({"replaced": replaced} if replaced else {})}


ENCODING_KEYS = ("encoding", "encoding_by", "encoding_certainty", "replaced")
"""Keys of :meth:`Encoding.metadata`."""


def encoding_notes(metadata: Metadata) -> dict[str, Scalar]:
    """Return what a document's metadata tell of its encoding; nothing for clean UTF-8."""
    return {key: metadata[key] for key in ENCODING_KEYS if "encoding" in metadata and key in metadata}


def describe(metadata: Metadata) -> str:
    """Return how a document was decoded: ``cp1250 (guessed, 93 % certain), 2 bytes replaced``; "" for clean UTF-8."""
    if "encoding" not in metadata:
        return ""
    found = str(metadata.get("encoding_by", ""))
    certain = metadata.get("encoding_certainty")
    how = f"{found}, {certain:.0%} certain".replace("%", " %") if isinstance(certain, (int, float)) else found
    replaced = metadata.get("replaced", 0)
    lost = f", {replaced:,} byte{'s' * (replaced != 1)} replaced" if isinstance(replaced, int) and replaced else ""
    return f"{metadata['encoding']} ({how}){lost}"


def check_encoding(name: str) -> str:
    """Return the name by which Python knows an encoding of text. Raises UsageError: it knows none of that name."""
    if found := codec_name(name):
        return found
    why, fix = "Python has no text encoding of that name", f"name one that it has: {', '.join(EXAMPLES)} …"
    raise UsageError(f"there is no encoding {name!r}", why=why, fix=fix)


def open_text(
    stream: BinaryIO, source: str, limits: Limits, newline: str | None = None, encoding: str = ""
) -> io.TextIOWrapper:
    """Return a stream of UTF-8 (:func:`as_utf8` makes it so) as text, with U+FFFD for bytes that are no characters.

    Args:
        newline: as for :func:`open`.
        encoding: UTF-8 when not given; given, the stream is taken as it stands and need not be rewound.

    Raises CapacityError: it has more bytes than ``limits.text_bytes``.
    """
    if not encoding:
        _check_size(stream, source, limits)
        stream.seek(0)
    return io.TextIOWrapper(stream, encoding=encoding or "utf-8-sig", errors="replace", newline=newline)


def decode(data: bytes, source: str, declared: str = "") -> tuple[str, Metadata]:
    """Return bytes as text, and what is to be told of it (:meth:`Encoding.metadata`). Raises DataError: no text."""
    found = detect(io.BytesIO(data), source, declared)
    text = data.decode(found.name, "replace")
    return text, found.metadata(_replaced(text, data, found.name))


def as_utf8(
    stream: BinaryIO, source: str, limits: Limits, declared: str = "", given: str = "", scratch: Path | None = None
) -> tuple[BinaryIO, Metadata]:
    """Return a stream in UTF-8 with the same text, itself if it has that already; and what is to be told of it.

    Args:
        declared: the encoding that HTTP declares; the text's own declarations are looked for.
        given: the encoding that the user names, which is taken whatever the bytes are.
        scratch: the folder of the temporary file; the system's when not given.

    Raises:
        DataError: it is binary.
        CapacityError: it has more bytes than ``limits.text_bytes``.
    """
    _check_size(stream, source, limits)
    found = Encoding(check_encoding(given), "given") if given else detect(stream, source, declared)
    stream.seek(0)
    if found.name.startswith("utf-8") and found.found in ("valid", "mark"):
        return stream, {}
    made = cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115 (the caller closes it)
    decoder, replaced = codecs.getincrementaldecoder(found.name)("replace"), 0
    while True:
        block = stream.read(_BLOCK)
        text = decoder.decode(block, final=not block)
        replaced += _replaced(text, block, found.name)
        made.write(text.encode("utf-8", "replace"))
        if not block:
            break
    made.flush()
    made.seek(0)
    return made, found.metadata(replaced)


def detect(stream: BinaryIO, source: str, declared: str = "") -> Encoding:
    """Return the encoding of a stream, which is read from its beginning to its end. Raises DataError: it is binary."""
    stream.seek(0)
    head = stream.read(_SAMPLE)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return Encoding(encoding, "mark")
    declared = known_encoding(declared) or declared_encoding(head)
    if wide := _wide_encoding(head):
        return Encoding(wide, "declared") if wide == declared else Encoding(wide, "guessed", _WIDE_CERTAINTY)
    for encoding, escape in _ESCAPES:
        if head.isascii() and escape.search(head) and _decodes(stream, encoding):
            return Encoding(encoding, "valid")
    sample = _first_not_utf8(stream, source)
    if sample is None:
        return Encoding("utf-8", "valid")
    if declared and _decodes(stream, declared):
        return Encoding(declared, "declared")
    from seedbed.documents.likely_encoding import guess_encoding  # not before it is needed: it reads its profiles

    guess = guess_encoding(sample)
    return Encoding(guess.encoding, "guessed", guess.certainty)


def is_text(head: bytes) -> bool:
    """Return whether the beginning of a file is text in some encoding."""
    marked = any(head.startswith(mark) for mark, _ in _MARKS)
    return marked or not looks_binary(head) or bool(_wide_encoding(head))


def looks_binary(block: bytes) -> bool:
    """Return whether bytes hold more control characters, or more NULs, than a text does that has a few by mistake."""
    nuls = block.count(0)
    controls = len(block) - len(block.translate(None, _CONTROLS)) - nuls
    if nuls + controls <= min(_STRAY, len(block) / 4):
        return False
    return controls > MAX_CONTROL_SHARE * len(block) or nuls > MAX_NUL_SHARE * len(block)


def binary(source: str) -> DataError:
    """Return the error of a file that is no text in any encoding."""
    return unreadable(source, "it is binary, not text", "convert it to text, or give it the suffix of its kind")


def _first_not_utf8(stream: BinaryIO, source: str) -> bytes | None:
    """Return what stands around the first byte that is no UTF-8, and after it; None for valid UTF-8.

    Raises DataError: it is binary.
    """
    stream.seek(0)
    decoder, last = codecs.getincrementaldecoder("utf-8")("strict"), b""
    while block := stream.read(_BLOCK):
        last = block
        if looks_binary(block):
            raise binary(source)
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            start = max(0, error.start - _SAMPLE)
            return block[start : error.start + _SAMPLE]
    return last[-_SAMPLE:] if decoder.getstate()[0] else None  # the last character is cut off, or in another encoding


def _check_size(stream: BinaryIO, source: str, limits: Limits) -> None:
    if stream.seek(0, os.SEEK_END) > limits.text_bytes:
        raise too_large(source, f"it has more than {limits.text_bytes:,} bytes", "text_bytes")


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    stream.seek(0)
    while block := stream.read(_BLOCK):
        yield block


def _decodes(stream: BinaryIO, encoding: str) -> bool:
    """Return whether every byte of a stream is part of a character."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        for block in _blocks(stream):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeError:
        return False
    return True


def _wide_encoding(head: bytes) -> str:
    """Return the UTF-16 or UTF-32 in which bytes with zeros are text, by where its spaces are; "" for other bytes.

    A few zeros in what is UTF-8 without them are no sign: they are there by mistake.
    """
    zeros = head.count(0)
    if not zeros or (zeros <= MAX_NUL_SHARE * len(head) and _is_utf8(head)):
        return ""
    best = max(_WIDE, key=lambda name: _spaces(head, name))
    return best if _spaces(head, best) else ""


def _is_utf8(head: bytes) -> bool:
    """Return whether bytes are UTF-8, but for a last character that is cut off."""
    try:
        codecs.getincrementaldecoder("utf-8")("strict").decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _spaces(head: bytes, encoding: str) -> int:
    """Count spaces and ASCII letters; none in what is no text: too many characters are controls or not assigned."""
    try:
        text = codecs.getincrementaldecoder(encoding)("strict").decode(head)
    except UnicodeError:
        return 0
    kinds = Counter(map(unicodedata.category, text))
    spaces = sum(map(text.count, "\t\n\r\f"))
    wrong = sum(kinds[kind] for kind in ("Cc", "Cn", "Co", "Cs")) - spaces
    letters = sum(character.isascii() and character.isalnum() for character in text)
    return 0 if "\0" in text or wrong > MAX_CONTROL_SHARE * len(text) else spaces + letters + text.count(" ")


def _replaced(text: str, data: bytes, encoding: str) -> int:
    """Count the replacement characters that decoding made: those that were none before."""
    made = text.count("\ufffd")
    return made - data.count(b"\xef\xbf\xbd") if made and encoding.startswith("utf-8") else made
