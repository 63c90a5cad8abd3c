"""The encoding that a text declares of itself, and the codecs that declared names mean.

Declarations of XML, HTML, CSS, mail and gettext headers, LaTeX, and the coding lines of Python, Emacs and Vim are found
in the first bytes of any text. Names mean what browsers take them for (WHATWG's Encoding Standard): ``iso-8859-1`` is
Windows-1252, which has quotation marks where Latin-1 has control characters.
"""

from __future__ import annotations

import codecs
import re

_HEAD = 4096  # bytes
_DECLARATION = re.compile(
    rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]+)"""
    rb"""|<meta[^>]{0,300}?charset\s*=\s*["']?\s*([\w.:-]+)"""
    rb"""|^@charset\s+["']([\w.:-]+)"""
    rb"""|^"?Content-Type:[^\n]{0,100}?charset\s*=\s*["']?([\w.:-]+)"""
    rb"""|\A(?:[^\n]*\n)?[ \t\f]*(?:\#|//|--|%|;|\.\\"|/\*|<!--)[^\n]{0,100}?coding[:=][ \t]*([\w.-]+)"""
    rb"""|\\usepackage\[([\w-]+)\]\{inputenc\}""",
    re.IGNORECASE | re.MULTILINE,
)
_SUPERSETS = {
    **dict.fromkeys(("ascii", "iso8859-1", "latin-1"), "cp1252"),
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "big5": "big5hkscs",
    "iso2022_jp": "iso2022_jp_ext",
}
"""Codecs by Python's name, and those that have all their characters and more."""
_WEB_NAMES = {"x-sjis": "cp932", "windows-31j": "cp932", "windows-874": "cp874", "x-mac-cyrillic": "mac-cyrillic"}
_TEX_NAMES = {"latin1": "cp1252", "ansinew": "cp1252", "applemac": "mac-roman", "latin9": "iso-8859-15"}


def declared_encoding(head: bytes) -> str:
    """Return the encoding that the beginning of a text declares; "" for none, and for one that is not known."""
    for match in _DECLARATION.finditer(head[:_HEAD]):
        name = next(group for group in match.groups() if group is not None).decode("ascii", "replace").lower()
        if found := known_encoding(_TEX_NAMES.get(name, name)):
            return found
    return ""


def known_encoding(name: str) -> str:
    """Return the codec that a declared name means: its superset, where the web takes one for it; "" for none."""
    codec = codec_name(name)
    return _SUPERSETS.get(codec, codec)


def codec_name(name: str) -> str:
    """Return Python's name of a text encoding; "" for an unknown one, and for its codecs that make no text."""
    name = _WEB_NAMES.get(name.strip().lower(), name.strip())
    try:
        "a".encode(name)
        return codecs.lookup(name).name
    except (LookupError, ValueError):  # ValueError: a NUL in the name, or "undefined", which refuses every text
        return ""
