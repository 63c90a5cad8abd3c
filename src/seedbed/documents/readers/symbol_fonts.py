"""Characters of the fonts Symbol and Wingdings, whose codes are no Unicode: Greek, mathematics, common marks.

From Unicode's mapping table for Adobe's Symbol encoding (SYMBOL.TXT) and Microsoft's names for Wingdings.
"""

from __future__ import annotations

_GREEK = "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", "αβχδεφγηιϕκλμνοπθρστυϖωξψζ"
_SYMBOL = {
    **dict(zip(range(0x41, 0x5B), _GREEK[0], strict=True)),
    **dict(zip(range(0x61, 0x7B), _GREEK[1], strict=True)),
    **dict(zip((0x22, 0x24, 0x27, 0x40, 0x5C, 0x5E), "∀∃∋≅∴⊥", strict=True)),
    **dict(zip(range(0xA0, 0xB0), "€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓", strict=True)),
    **dict(zip(range(0xB0, 0xC0), "°±″≥×∝∂•÷≠≡≈…⏐⎯↵", strict=True)),
    **dict(zip(range(0xC0, 0xD0), "ℵℑℜ℘⊗⊕∅∩∪⊃⊇⊄⊂⊆∈∉", strict=True)),
    **dict(zip(range(0xD0, 0xE0), "∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓", strict=True)),
    **dict(zip((0xE0, 0xE1, 0xE5, 0xF1, 0xF2), "◊〈∑〉∫", strict=True)),
}
_WINGDINGS = {
    **dict(zip((0x4A, 0x4B, 0x4C, 0x6C, 0x6D, 0x6E, 0x6F, 0x70, 0x71, 0x72), "☺😐☹●❍■□◻❑❒", strict=True)),
    **dict(zip((0x73, 0x74, 0x75, 0x76, 0x77, 0x9F, 0xA7, 0xA8), "⬧⧫◆❖⬥•▪◻", strict=True)),
    **dict(zip((0xD8, 0xDF, 0xE0, 0xE1, 0xE2, 0xE8, 0xF0), "➢←→↑↓➔⇨", strict=True)),
    **dict(zip((0xFB, 0xFC, 0xFD, 0xFE), "✗✓☒☑", strict=True)),
}
_FONTS = {"symbol": _SYMBOL, "wingdings": _WINGDINGS}


def character(font: str, code: int) -> str:
    """Return the character of a code in a font; "" for one that is not known.

    Codes of such fonts also stand in the private-use area, 0xF000 higher; other codes are Unicode's.
    """
    own = code - 0xF000 if 0xF000 <= code <= 0xF0FF else code
    table = _FONTS.get(font.lower())
    if table is None:
        return "" if 0xE000 <= code <= 0xF8FF or not 0 < code < 0x110000 or 0xD800 <= code < 0xE000 else chr(code)
    ascii_too = own < 0x40 and table is _SYMBOL
    return table.get(own) or (chr(own) if ascii_too and own >= 0x20 else "")
