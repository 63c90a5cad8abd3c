"""The bits that signs and cases cost by what stands next to them, in any language.

``m¢res`` and ``StraЯe`` are no texts: most signs do not stand inside a word, and no capital follows a small letter.
Bytes that a code page leaves undefined, and the control characters that ISO 8859 has where Windows has quotation marks,
are worse.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_USUAL, _SELDOM, _INSIDE, _BROKEN, _LATE_CAPITAL = 7.0, 11.0, 18.0, 30.0, 6.0
_OPENING, _CLOSING = "“„«‚‘¿¡‹»›", "”»’›“‘«‹"
_PAUSES = "–—…\xa0"
_NUMBERS = "°§€£%‰©®™×±²³ªº½¼¾µ·•†"


@lru_cache(maxsize=1 << 15)
def sign_cost(before: str, sign: str, after: str) -> float:
    """Return the bits of a character that is no letter, between two others; 0 for letters and ASCII."""
    if sign < "\x80" or (sign.isalpha() and sign not in "ªºˆ"):
        return 0.0
    kind = unicodedata.category(sign)
    if sign == "\ufffd" or kind in ("Cc", "Cn", "Co", "Cs"):
        return _BROKEN
    if kind[0] == "M":
        return 0.0
    if _is_box(sign):
        in_line = _USUAL if sign in (before, after) else _SELDOM
        return _INSIDE if before.isalpha() or after.isalpha() else in_line
    inside = before.isalpha() and after.isalpha()
    if sign in _PAUSES or (sign == "’" and inside):
        return _USUAL
    if (sign in _OPENING and not before.isalnum()) or (sign in _CLOSING and not after.isalnum()):
        return _USUAL
    beside_number = sign in _NUMBERS and not before.isalpha() and not after.isalpha()
    return _INSIDE if inside else _SELDOM - 1 if beside_number else _SELDOM + 3


def case_cost(before: str, letter: str) -> float:
    """Return the bits of a capital after a small letter."""
    return _LATE_CAPITAL if letter.isupper() and before.islower() else 0.0


def _is_box(sign: str) -> bool:
    return "\u2500" <= sign <= "\u259f"
