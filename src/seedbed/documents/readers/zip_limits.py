"""Check a zip container before a parser opens it: how many members, how large they really are, and what they hide.

Sizes that the directory declares are checked first; then each member is unpacked in small pieces and counted, since
parsers unpack a member in one go and believe what it says. A document type declaration inside an Office document is
refused: the standard forbids it (ECMA-376 part 2, 7.1.4), and entities that expand each other are built with it.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from seedbed.documents.declared_encoding import codec_name
from seedbed.documents.limits import Limits, too_large, unreadable

_BLOCK = 1 << 16
_GRACE = 10_000_000
"""Bytes below which the ratio does not matter."""
_HEAD = 4096
_MAINFRAME = "<?xm".encode("cp037")
_PICTURES = (".svg", ".html", ".htm", ".xhtml")
_STATED = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([^"'>]*)["']""")
_OPEN_ENCODINGS = ("utf-8", "utf-16", "ascii", "iso8859-", "cp125")
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def check_zip(stream: BinaryIO, source: str, limits: Limits, *, office: bool = True) -> None:
    """Refuse a container that is damaged, locked or too large; the stream is rewound.

    Args:
        office: whether it is an Office document, whose XML may have no document type declaration.

    Raises:
        DataError: it is damaged, locked, or hides a declaration.
        CapacityError: it breaks a limit.
    """
    stream.seek(0)
    if stream.read(len(_OLE)) == _OLE:
        raise unreadable(source, "it is locked with a password, or in the old binary format", "save it without either")
    try:
        members = zipfile.ZipFile(stream).infolist()
    except (zipfile.BadZipFile, ValueError, struct.error, NotImplementedError) as error:
        raise unreadable(source, f"it is damaged: {error}") from error
    _check_declared(members, source, limits)
    total = packed = 0
    for member in members:
        is_xml = False
        end = b""
        for number, block in enumerate(_with_head(_unpacked(stream, member, source))):
            if number == 0 and office:
                is_xml = _is_xml(block, member)
                _check_encoding(block, member, source)
            total += len(block)
            _check_size(total, packed + member.compress_size, source, limits)
            letters = (end + block).replace(b"\0", b"").upper() if is_xml else b""  # UTF-16 has zeros between them
            if b"<!DOCTYPE" in letters:
                raise unreadable(source, f"{member.filename} declares a document type, which Office files never do")
            end = block[-64:]
        packed += member.compress_size
    stream.seek(0)


def _with_head(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield blocks, the first of which has the beginning of a part, however small the pieces are that it came in."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= _HEAD:
            yield head
            break
    else:
        yield head
    yield from blocks


def _is_xml(head: bytes, member: zipfile.ZipInfo) -> bool:
    """Return whether a part is XML by its name, or by its beginning: no name is needed to be read as such.

    Pictures and pages begin alike and may declare a type; no reader looks at them.
    """
    name = member.filename.casefold()
    start = head.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return name.endswith((".xml", ".rels")) or (start[:1] in (b"<", b"") and not name.endswith(_PICTURES))


def _check_encoding(block: bytes, member: zipfile.ZipInfo, source: str) -> None:
    """Refuse XML in an encoding in which a declaration would not be found, such as UTF-7; the standard has none."""
    stated = _STATED.match(block.replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe"))
    odd = stated and not codec_name(stated[1].decode("latin-1")).startswith(_OPEN_ENCODINGS)
    if odd or block.startswith(_MAINFRAME):
        raise unreadable(source, f"{member.filename} is in an encoding that Office files never have")


def _check_declared(members: list[zipfile.ZipInfo], source: str, limits: Limits) -> None:
    if len(members) > limits.members:
        raise too_large(source, f"it holds {len(members):,} files", "members")
    if any(member.flag_bits & 1 for member in members):
        raise unreadable(source, "it is locked with a password", "save it without a password")
    _check_size(sum(member.file_size for member in members), sum(one.compress_size for one in members), source, limits)


def _check_size(unpacked: int, packed: int, source: str, limits: Limits) -> None:
    if unpacked > limits.unpacked_bytes:
        raise too_large(source, f"it unpacks to more than {limits.unpacked_bytes:,} bytes", "unpacked_bytes")
    if unpacked > _GRACE and unpacked > limits.ratio * packed:
        raise too_large(source, f"it unpacks to more than {limits.ratio} times its size", "ratio")


def _unpacked(stream: BinaryIO, member: zipfile.ZipInfo, source: str) -> Iterator[bytes]:
    """Yield the real content of a member in small pieces, whatever its declared size."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise unreadable(source, f"{member.filename} is packed in an unusual way")
    stream.seek(max(0, member.header_offset))
    header = stream.read(30)
    if member.header_offset < 0 or len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise unreadable(source, "it is damaged: its directory points to no file")
    stream.seek(sum(struct.unpack("<HH", header[26:30])), 1)
    inflate = zlib.decompressobj(-15) if member.compress_type == zipfile.ZIP_DEFLATED else None
    left, rest = member.compress_size, b""
    while left or rest:
        packed = rest or stream.read(min(left, _BLOCK))
        if not packed:
            raise unreadable(source, "it is cut off")
        left -= 0 if rest else len(packed)
        try:
            yield inflate.decompress(packed, _BLOCK) if inflate else packed
        except zlib.error as error:
            raise unreadable(source, f"it is damaged: {error}") from error
        if inflate and inflate.eof:
            return
        rest = inflate.unconsumed_tail if inflate else b""
