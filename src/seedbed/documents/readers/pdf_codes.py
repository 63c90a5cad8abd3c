"""Codes of a PDF's fonts: maps that pypdf leaves out, and fonts whose codes nobody can read.

A composite font may bring its own map of codes (ISO 32000-2, 9.7.5.3), in which codes of one and of two bytes stand
side by side. pypdf reads such strings byte by byte, so every code of two bytes becomes two characters, the first mostly
NUL. Each such map becomes a codec of Python, which pypdf then uses as it uses its own. A composite font with neither
a map to Unicode nor a character collection has glyph numbers for codes: its text becomes U+FFFD.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import Any

from pypdf import _cmap
from pypdf.generic import DecodedStreamObject, NameObject, StreamObject

_HEX = rb"<\s*([0-9A-Fa-f\s]+?)\s*>"
_SPACES = re.compile(rb"begincodespacerange(.*?)endcodespacerange", re.DOTALL)
_PAIR = re.compile(_HEX + rb"\s*" + _HEX)
_SECTION = re.compile(rb"begin(bfchar|bfrange)(.*?)end(?:bfchar|bfrange)", re.DOTALL)
_CHAR = re.compile(rb"(<[^>]*>)\s*(<[^>]*>)")
_RANGE = re.compile(rb"(<[^>]*>)\s*(<[^>]*>)\s*(<[^>]*>|\[[^\]]*\])")
_IDENTITY = ("/Identity-H", "/Identity-V")
_NAME = "seedbed_codes_"
_MOST_LEVELS = 20
Space = tuple[bytes, bytes]
_known: dict[tuple[Space, ...], str] = {}


def prepare_fonts(resources: Any) -> None:
    """Make the fonts of a page's resources, and of forms in it, readable or known as unreadable, in place."""
    for one in _resources(resources, set(), 0):
        fonts = _plain(one.get("/Font")) or {}
        for name in fonts:
            font = _plain(fonts[name])
            if isinstance(font, dict) and font.get("/Subtype") == "/Type0":
                _prepare(font)


def pictures(resources: Any) -> Iterator[int]:
    """Yield the size of each picture in a page's resources, and in forms in it, in pixels."""
    for one in _resources(resources, set(), 0):
        for drawn in _drawn(one):
            if drawn.get("/Subtype") == "/Image":
                yield int(_plain(drawn.get("/Width")) or 0) * int(_plain(drawn.get("/Height")) or 0)


def _plain(found: Any) -> Any:
    return found.get_object() if hasattr(found, "get_object") else found


def _resources(resources: Any, seen: set[int], level: int) -> Iterator[Any]:
    resources = _plain(resources)
    if not isinstance(resources, dict) or id(resources) in seen or level > _MOST_LEVELS:
        return
    seen.add(id(resources))
    yield resources
    for drawn in _drawn(resources):
        yield from _resources(drawn.get("/Resources"), seen, level + 1)


def _drawn(resources: Any) -> Iterator[Any]:
    objects = _plain(resources.get("/XObject")) or {}
    found = (_plain(objects[name]) for name in objects)
    return (one for one in found if isinstance(one, dict))


def _prepare(font: Any) -> None:
    encoding = _plain(font.get("/Encoding"))
    has_unicode = "/ToUnicode" in font
    if isinstance(encoding, StreamObject):
        spaces = tuple(_code_spaces(encoding.get_data()))
        if has_unicode and spaces:
            _own_lines(font)
            font[NameObject("/Encoding")] = NameObject("/" + _codec(spaces))
        elif not has_unicode:
            font[NameObject("/Encoding")] = NameObject("/" + _codec(spaces or ((b"\0\0", b"\xff\xff"),), known=False))
    elif not has_unicode and encoding in _IDENTITY and _ordering(font) == "Identity":
        font[NameObject("/Encoding")] = NameObject("/" + _codec(((b"\0\0", b"\xff\xff"),), known=False))


def _ordering(font: Any) -> str:
    descendants = _plain(font.get("/DescendantFonts")) or [{}]
    info = _plain(_plain(descendants[0]).get("/CIDSystemInfo")) or {}
    return str(info.get("/Ordering", ""))


def _code_spaces(data: bytes) -> Iterator[Space]:
    for section in _SPACES.findall(data):
        for first, last in _PAIR.findall(section):
            low, high = (bytes.fromhex(one.decode()) for one in (first, last))
            if len(low) == len(high):
                yield low, high


def _own_lines(font: Any) -> None:
    """Give each code of a map to Unicode a line of its own: pypdf takes a line's first code for the size of all."""
    stream = _plain(font["/ToUnicode"])
    if not isinstance(stream, StreamObject):
        return
    rewritten = DecodedStreamObject()
    rewritten.set_data(_SECTION.sub(_lines, stream.get_data()))
    font[NameObject("/ToUnicode")] = rewritten


def _lines(section: re.Match[bytes]) -> bytes:
    pattern = _CHAR if section[1] == b"bfchar" else _RANGE
    lines = b"\n".join(b" ".join(entry) for entry in pattern.findall(section[2]))
    return b"begin%s\n%s\nend%s" % (section[1], lines, section[1])


def _codec(spaces: tuple[Space, ...], known: bool = True) -> str:
    """Return the name of the codec of some code spaces; one that is not known decodes every code to U+FFFD."""
    key = (*spaces, (b"", b"")) if known else spaces
    if key not in _known:
        name = f"{_NAME}{len(_known)}"
        _known[key] = name
        info = codecs.CodecInfo(_no_encoder, lambda data, errors="": _decode(bytes(data), spaces, known), name=name)
        codecs.register(lambda asked: info if asked == name else None)
        _cmap._predefined_cmap["/" + name] = name
    return _known[key]


def _no_encoder(text: str, errors: str = "strict") -> tuple[bytes, int]:
    raise UnicodeError("codes of a PDF's font are only read")


def _decode(data: bytes, spaces: tuple[Space, ...], known: bool) -> tuple[str, int]:
    """Return a character for each code: its number, in which pypdf's map to Unicode has its keys."""
    out: list[str] = []
    place = 0
    shortest = min(len(low) for low, _ in spaces)
    while place < len(data):
        size = next((len(low) for low, high in spaces if _within(data[place : place + len(low)], low, high)), shortest)
        code = int.from_bytes(data[place : place + size], "big")
        out.append(chr(code) if known and code < 0x110000 else "\ufffd")
        place += size
    return "".join(out), len(data)


def _within(code: bytes, low: bytes, high: bytes) -> bool:
    """Tell whether each byte of a code is within its range."""
    return len(code) == len(low) and all(a <= byte <= b for a, byte, b in zip(low, code, high, strict=True))
