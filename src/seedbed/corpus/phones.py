"""Phone numbers: written forms that only phones have, and any form beside a word that says so.

A number has no checksum, so what stands next to it decides. A form of phones (international, North American, national
with its zero) is taken unless the words before it name another kind of number (order, part, version …); other groups of
seven digits or more are taken only after words such as "Phone:", "call me on", "reach her at", or before "(mobile)".
Left out: bare local numbers without such a word, which nobody can tell from other numbers.
"""

from __future__ import annotations

import re

_EXTENSION = r"(?:,? ?(?:x|ext\.?:?|extension|durchwahl|poste) ?\d{1,6})?"
FORM = re.compile(
    r"(?<![\w./+#=$€£*^-])(?<!\d[, ])(?:"
    r"\+[1-9]\d{0,2}(?:[ .-]?(?:\(\d{1,4}\)|\d{1,4})|\d{2,10}){1,6}"  # international, as +41 (0)44 668 18 00
    r"|00[1-9]\d{0,2}[ .-](?:\(\d{1,4}\)|\d{1,4})(?:[ .-]\d{2,4}){1,4}"
    r"|(?:1[ .-])?\([2-9]\d{2}\)[ -]?\d{3}[ .-]\d{4}"  # North America, as (555) 123-4567
    r"|(?:1[ .-])?[2-9]\d{2}([ .-])\d{3}\1\d{4}"
    r"|0[1-9]\d{0,3}([ .])\d{2,4}(?:\2\d{2,4}){1,4}"  # national, as 030 1234 5678 or 03.93.92.16.85
    r"|(?:\(0\d{1,4}\)(?: ?[-/] ?| ?)|0[1-9]\d{0,3} ?[-/] ?)\d{3,8}(?:[ -]\d{1,4}){0,3}"  # (030) 1234567, 0445/123456
    r"|0[1-9]\d{1,3} \d{5,8}"
    rf"){_EXTENSION}(?![\w+*/=%]|-\d|[.,:]\d| ?\d)",
    re.IGNORECASE,
)
_SEPARATOR = r"(?: ?[-./] ?| )?"
GROUPS = re.compile(
    rf"(?<![\w.,/+#=$€£*^@-])(?:\+?\d{{1,5}}|\+?\(\+?\d{{1,5}}\))(?:{_SEPARATOR}(?:\d{{1,10}}|\(\d{{1,5}}\))){{0,7}}"
    rf"{_EXTENSION}(?![\w+*=%]|-\d|[.,:/]\d)",
    re.IGNORECASE,
)
_LABELS = (
    r"(?:tele)?phones?|ph|tel|tele(?:ph|f)on[eo]?s?|téléphone|tél|teléfonos?|telefoon|telefon\w*|mobile?|mobil\w*|móvil"
    r"|cell(?:ular\w*|phone|ulare)?|celular|handy\w*|portable|rufnummer|fax|landline|hotline|helpline|switchboard"
    r"|whatsapp|sms|тел|телефон|電話|电话|전화"
)
_PLACES = r"home|work|office|desk|direct|reception|front desk|toll[- ]free"
"""Words that mean a phone only before a colon or a number that is written like one."""
_VERBS = (
    r"call(?:ed|ing)?|dial(?:l?ed)?|ring|rang|text(?:ed)?|message|reach(?:ed|able)?|contact(?:ed)?|answer(?:ing|ed)?"
    r"|rufen|ruf|anrufen|anruf|erreich\w*|appel\w*|joindre|ll[aá]m\w*|chiam\w*|bel|bellen|ligue|ring\w*"
)
_SMALL_WORDS = (
    r"me|us|him|her|them|you|it|back|up|on|at|in|is|are|was|by|to|the|my|our|his|your|their|new|old|this|please|now|today"
    r"|number|numbers|no|nr|line|phone|office|desk|sie|mich|uns|ihn|ihm|ihr|bitte|an|unter|der|die|das|nummer|lautet|moi|nous"
    r"|au|le|la|numéro|n°|al|número|il|numero|op|mig|oss|på|ao|för|form|via|after|directly|instead"
)
_GAP = rf"(?:[\s,:;|/-]+(?:{_SMALL_WORDS})\b){{0,6}}[\s.:;,#=|/()\[\]\"'<>-]{{0,12}}\Z"
_BEFORE = re.compile(
    rf"(?:\b(?:{_LABELS}|{_VERBS})\b|\b(?:my|her|his|our|your|their|contact|emergency) (?:\w+ )?numbers?\b"
    rf"|\b(?:{_PLACES})(?=\s?[:=]| (?:number|phone|line)\b)|(?:^|[\s|,;(])[TPFM](?=[.:]))(?P<gap>{_GAP})",
    re.IGNORECASE,
)
_AFTER = re.compile(
    rf"\s?[-–,(\[]?\s?(?:{_LABELS}|{_PLACES})\b"
    rf"|[,;]? (?:is|was) (?:my|her|his|our|the) (?:{_LABELS}|{_PLACES}|number)\b",
    re.IGNORECASE,
)
OTHER_NUMBER = re.compile(
    r"(?:\b(?:orders?|invoice|ticket|case|tracking|parcel|serial|part|article|item|model|product|account|customer|member"
    r"|reference|ref|booking|patent|policy|room|bus|flight|page|pages|pp|row|line|section|chapter|version|release|build|id"
    r"|isbn|issn|ean|gtin|upc|imei|sku|doi|rfc|vat|tax|timestamp|commit|call|bestell\w*|rechnung\w*|artikel\w*|commande|facture)"
    r"(?: (?:number|numbers|no|nr|id|code|key|date))?"
    r"|(?<!tel )(?<!phone )(?<!fax )(?<!mobile )(?<!cell )(?<!contact )\b(?:no|nr)|[№#])[\s.:#-]{0,3}\Z",
    re.IGNORECASE,
)
"""Words before a number that name another kind of number than a phone's or a card's."""
_CALL_TO = re.compile(r"\bcall\b\s*\Z", re.IGNORECASE)
_NO_PHONE = re.compile(
    r"(?:1[89]|20)\d\d ?[-/] ?(?:1[89]|20)\d\d|\d{1,2}([./-])\d{1,2}\1\d{4}(?: \d{1,2}[.]\d\d)?"
    r"|\d{4}([./-])\d\d?\2\d\d?|(?:1[89]|20)\d\d(?: (?:1[89]|20)\d\d)+|\d{1,3}(?: 000)+|\d+\.\d+|\+\d+\.\d+"
)
"""Years, dates, round numbers and fractions."""
_THOUSANDS = re.compile(r"\d{1,3}(?: \d{3})+|(?:\d\d ){2,}\d{3,4}")
_WINDOW = 60


def is_form(match: re.Match[str]) -> bool:
    """Return whether a form of phone numbers is one, by its digits and by what stands next to it."""
    text, start, end = match.string, match.start(), match.end()
    digits = _digits(match[0])
    if not 9 <= len(digits) <= 15 or len(set(digits)) <= 2 or _NO_PHONE.fullmatch(match[0]):
        return False
    before = text[max(0, start - _WINDOW) : start]
    if before.rstrip().endswith("=") and not match[0].startswith("+"):
        return False  # numbers of a program
    if before.endswith(("(", "[")) and not match[0].startswith("+") and text[end : end + 1] not in (")", "]"):
        return False
    return not _names_another(before)


def is_named(match: re.Match[str]) -> bool:
    """Return whether groups of digits stand beside words that make them a phone number."""
    text, start, end = match.string, match.start(), match.end()
    if not 7 <= len(_digits(match[0])) <= 15 or _NO_PHONE.fullmatch(match[0]):
        return False
    before = text[max(0, start - _WINDOW) : start]
    if named := _BEFORE.search(before):
        is_amount = not named["gap"].strip() and _THOUSANDS.fullmatch(match[0]) is not None
        return not is_amount and not _names_another(before)
    return _AFTER.match(text, end, end + 30) is not None and not OTHER_NUMBER.search(before)


def _names_another(before: str) -> bool:
    return OTHER_NUMBER.search(before) is not None and not _CALL_TO.search(before)


def _digits(written: str) -> str:
    """Return the digits without those of the extension."""
    return re.sub(r"\D", "", re.split(r"[a-z]", written, maxsplit=1, flags=re.IGNORECASE)[0])
