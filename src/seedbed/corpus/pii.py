"""Personal data and secrets: found by pattern, confirmed by checksum or context, counted, and masked on request.

Kinds with a checksum are confirmed by it: cards by Luhn's (ISO/IEC 7812) and a known issuer, IBANs by mod 97
(ISO 13616), addresses by the ``ipaddress`` module (public ones only). Phone numbers have none, so only written
forms are taken that dates, versions and identifiers do not have. Names and street addresses are left out: finding
them needs a model, and a pattern for them would mostly be wrong.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of personal data: its kind, and where it stands in the text."""

    kind: str
    start: int
    end: int


def find_pii(text: str) -> list[Finding]:
    """Return everything found in a text, in order, none overlapping."""
    taken: list[Finding] = []
    for detector in _DETECTORS:
        taken += [
            finding
            for finding in detector.find(text)
            if not any(finding.start < other.end and other.start < finding.end for other in taken)
        ]
    return sorted(taken, key=lambda finding: finding.start)


def mask_pii(text: str, findings: list[Finding]) -> str:
    """Return the text with ``<email>``, ``<phone>`` … in place of each finding."""
    parts, at = [], 0
    for finding in findings:
        parts += [text[at : finding.start], f"<{finding.kind}>"]
        at = finding.end
    return "".join([*parts, text[at:]])


def excerpt(text: str, finding: Finding) -> str:
    """Return a finding as it may be shown: its first and last two characters, never enough to use it."""
    value = text[finding.start : finding.end]
    return f"{value[:2]}…{value[-2:]} ({len(value)} characters)"


@dataclass(frozen=True)
class _Detector:
    """A pattern whose group ``value`` (else the whole match) is taken if ``check`` agrees.

    ``near`` is a cheap pattern; where it is given, only its matches and ``margin`` characters around them are looked
    at. Python's ``re`` scans ten times faster for a pattern that begins with a plain set of characters.
    """

    kind: str
    pattern: re.Pattern[str]
    check: Callable[[re.Match[str]], bool] | None = None
    near: re.Pattern[str] | None = None
    margin: int = 0

    def find(self, text: str) -> Iterator[Finding]:
        """Yield all findings in a text."""
        group = "value" if "value" in self.pattern.groupindex else 0
        for start, end in self._windows(text):
            for match in self.pattern.finditer(text, start, end):
                if self.check is None or self.check(match):
                    yield Finding(self.kind, match.start(group), match.end(group))

    def _windows(self, text: str) -> Iterator[tuple[int, int]]:
        if self.near is None:
            yield 0, len(text)
            return
        start, end = 0, -1
        for match in self.near.finditer(text):
            if match.start() - self.margin > end:
                if end >= 0:
                    yield start, end
                start = max(0, match.start() - self.margin)
            end = match.end() + self.margin
        if end >= 0:
            yield start, min(end, len(text))


# Keys of services have fixed beginnings and alphabets; other secrets are known by the name they are assigned to.
_KEY = re.compile(
    r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[\s\S]{20,10000}?-----END (?:[A-Z]+ )?PRIVATE KEY-----"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{22,}\b|\bglpat-[A-Za-z0-9_-]{20,}"
    r"|\bsk-(?:[a-z]+-)*[A-Za-z0-9_-]{20,}"
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}|\bAIza[0-9A-Za-z_-]{35}|\bhf_[A-Za-z]{34}\b"
    r"|\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
)
_KEY_HINT = re.compile(r"-----BEGIN |A[KS]IA[0-9A-Z]|gh[pousr]_|github_pat_|glpat-|sk-|xox[abprs]-|AIza|hf_|eyJ")
_ASSIGNED = re.compile(r"[:=]\s{0,3}[\"'](?P<value>[A-Za-z0-9+/=_.~!@#$%^&*-]{12,200})[\"']")
_SECRET_NAME = re.compile(
    r"(?i:api[_-]?key|secret(?:[_-]?key)?|access[_-]?token|auth[_-]?token|passw(?:or)?d|client[_-]?secret)[\"']?\s*$"
)
_EMAIL = re.compile(
    r"(?<![\w.+%-])[A-Za-z0-9_][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24}"
    r"(?![\w@-]|\.[A-Za-z0-9])"
)
_AT = re.compile("@")
_IBAN = re.compile(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,4})?\b")
_DIGITS = re.compile(r"\d[\d .()-]{5,}\d")  # what every number worth looking at has
_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){11,18}(?![\w-]|\.\d)")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){1,7}(?::|(?::?[0-9A-Fa-f]{1,4}){1,7})(?![\w:]|\.\d)")
_PHONE = re.compile(
    r"(?<![\w./+#=:$€£*^(\[-])(?<!\d[, ])(?:"
    r"\+[1-9]\d{0,2}(?:[ .-]?\(?\d{1,4}\)?|\d{2,10}){1,6}"  # international, as +41 (0)44 668 18 00
    r"|00[1-9]\d{0,2}[ .-]\(?\d{2,4}\)?(?:[ .-]\d{2,4}){1,3}"
    r"|(?:1[ .-])?\([2-9]\d{2}\) ?\d{3}[ .-]\d{4}"  # North America, as (555) 123-4567
    r"|(?:1[ .-])?[2-9]\d{2}([ .-])\d{3}\1\d{4}"
    r"|0\d{1,4}([ .])\d{2,4}(?:\2\d{2,4}){1,4}"  # national, as 030 1234 5678 or 03.93.92.16.85
    r")(?:x\d{1,6})?(?![\w+*/=%]|-\d|[.,:]\d| ?\d)"
)
_NAMED_PHONE = re.compile(  # any way of writing, but after a word that says what it is
    r"(?i:\b(?:(?:tele)?phone|tel|mobile|cell|fax)\b(?: (?:number|no|is|at)\b){0,2}[.:]{0,2} {0,2})"
    r"(?P<value>\+?\(?\d[\d ().-]{5,18}\d)(?![\w+*/=%]|-\d|[.,:]\d)"
)


def _luhn(digits: str) -> bool:
    """Check ISO/IEC 7812-1, annex B: every second digit from the right doubled, digits summed, divisible by ten."""
    values = [int(digit) for digit in reversed(digits)]
    doubled = (sum(divmod(2 * value, 10)) for value in values[1::2])
    return (sum(values[::2]) + sum(doubled)) % 10 == 0


# Issuer prefixes and the lengths they use: Visa, Mastercard, American Express, Discover, Diners, JCB, Maestro.
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}"
    r"|3(?:0[0-5]|[689]\d)\d{11}"
    r"|35\d{14}|(?:2131|1800)\d{11}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"
)


def _is_card(match: re.Match[str]) -> bool:
    digits = re.sub(r"[ -]", "", match[0])
    if not _ISSUERS.fullmatch(digits) or not _luhn(digits):
        return False
    groups = re.split(r"[ -]", match[0])  # separators only as they are printed: 4-4-4-4, 4-6-5
    return len(groups) == 1 or (len(groups) <= 5 and len({*map(len, groups[:-1])} - {4, 6}) == 0)


_IBAN_LENGTHS = dict(
    re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
        "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
        "LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 "
        "SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20",
    )
)


def _is_iban(match: re.Match[str]) -> bool:
    """Check ISO 13616: the first four characters moved to the end, letters as 10 … 35, remainder 1 by 97."""
    value = match[0].replace(" ", "").upper()
    if _IBAN_LENGTHS.get(value[:2]) != str(len(value)):
        return False
    return int("".join(str(int(character, 36)) for character in value[4:] + value[:4])) % 97 == 1


def _is_public_address(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    first = address.packed[0]
    # 2.7.2.2 is far more often a version, and 1::2 a slice; all of IPv6 that is handed out begins with 2 or 3.
    if first < 10 if address.version == 4 else first >> 5 != 1:
        return False
    return address.is_global and not address.is_multicast


def _is_email(match: re.Match[str]) -> bool:
    """Return whether an address is real: not of the domains that RFC 2606 reserves for examples."""
    local, _, domain = match[0].lower().rpartition("@")
    labels = domain.split(".")
    reserved = labels[-2] == "example" or labels[-1] in {"example", "invalid", "test", "localhost", "local"}
    return not reserved and ".." not in local and not local.endswith(".")


def _is_phone(match: re.Match[str]) -> bool:
    digits = re.sub(r"\D", "", match[0].partition("x")[0])
    is_number = re.fullmatch(r"\+\d+\.\d+", match[0]) is not None
    return 9 <= len(digits) <= 15 and len(set(digits)) > 2 and not is_number


def _is_named_phone(match: re.Match[str]) -> bool:
    return 7 <= len(re.sub(r"\D", "", match["value"])) <= 15


def _is_secret(match: re.Match[str]) -> bool:
    """Check for a name that says so, letters, digits and at least three bits of entropy a character."""
    before = match.string[max(0, match.start() - 24) : match.start()]
    if not _SECRET_NAME.search(before):
        return False
    value = match["value"]
    counts = Counter(value)
    entropy = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return entropy >= 3 and bool(re.search(r"\d", value)) and bool(re.search(r"[A-Za-z]", value))


_DETECTORS = (  # what comes first wins where two overlap
    _Detector("key", _KEY, None, _KEY_HINT, 12_000),
    _Detector("key", _ASSIGNED, _is_secret),
    _Detector("email", _EMAIL, _is_email, _AT, 300),
    _Detector("iban", _IBAN, _is_iban),
    _Detector("card", _CARD, _is_card, _DIGITS, 3),
    _Detector("ip", _IPV4, _is_public_address, _DIGITS, 3),
    _Detector("ip", _IPV6, _is_public_address, _COLONS, 45),
    _Detector("phone", _PHONE, _is_phone, _DIGITS, 8),
    _Detector("phone", _NAMED_PHONE, _is_named_phone, _DIGITS, 40),
)
