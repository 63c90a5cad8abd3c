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

from seedbed.corpus import phones


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
_IBAN_START = re.compile(r"\b[A-Za-z]{2}\d{2} ?[A-Za-z0-9]{4}")
_DIGITS = re.compile(r"\d[\d ./()-]{5,}\d")  # what every number worth looking at has
_CARD = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){11,18}(?![\w-]|\.\d)")
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_COLONS = re.compile(r":[0-9A-Fa-f]{0,4}:")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){1,7}(?::|(?::?[0-9A-Fa-f]{1,4}){1,7})(?![\w:]|\.\d)")


def _luhn(digits: str) -> bool:
    """Check ISO/IEC 7812-1, annex B: every second digit from the right doubled, digits summed, divisible by ten."""
    values = [int(digit) for digit in reversed(digits)]
    doubled = (sum(divmod(2 * value, 10)) for value in values[1::2])
    return (sum(values[::2]) + sum(doubled)) % 10 == 0


# Prefixes of issuers and the lengths they use: Visa, Mastercard, American Express, Discover, Diners Club, JCB, Maestro,
# UnionPay, Mir.
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}"
    r"|(?:6011|65\d\d|64[4-9]\d)\d{12}"
    r"|3(?:0[0-5]|[689]\d)\d{11}"
    r"|35\d{14}|(?:2131|1800)\d{11}"
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"
    r"|62\d{14,17}|220[0-4]\d{12}"
)
_MAESTRO = re.compile(r"(?:50|5[6-9]|6\d)\d{10,17}")  # many banks' cards, and a sixth of all other numbers
_CARD_WORD = re.compile(r"\b(?:card|carte|karte\w*|kreditkarte\w*|tarjeta|maestro|debit|credit)\b", re.IGNORECASE)
_CARD_SIZES = {(4, 6, 5), (4, 6, 4), (4, 4, 5), (6, 13), (8, 8)}


def _is_card(match: re.Match[str]) -> bool:
    digits = re.sub(r"[ -]", "", match[0])
    before = match.string[max(0, match.start() - 40) : match.start()]
    if not _luhn(digits) or (phones.OTHER_NUMBER.search(before) and not _CARD_WORD.search(before)):
        return False
    if not _ISSUERS.fullmatch(digits) and not (_MAESTRO.fullmatch(digits) and _CARD_WORD.search(before)):
        return False
    sizes = tuple(map(len, re.split(r"[ -]", match[0])))  # separators only as they are printed
    return len(sizes) == 1 or sizes in _CARD_SIZES or (set(sizes[:-1]) == {4} and sizes[-1] <= 4)


_IBAN_LENGTHS = dict(
    re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DK18 DO28 EE20 EG29 ES24 FI18 "
        "FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 "
        "LU20 LV21 MC27 MD24 ME22 MK19 MR27 MT31 MU30 NL18 NO15 PK24 PL28 PS29 PT25 QA29 RO24 RS22 SA24 SC31 SE24 SI19 "
        "SK24 SM27 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20",
    )
)


_IBAN = re.compile(
    r"\b(?:"
    + "|".join(rf"{country}\d\d(?: ?[A-Z0-9]){{{int(n) - 4}}}" for country, n in _IBAN_LENGTHS.items())
    + r")\b",
    re.IGNORECASE,
)


def _is_iban(match: re.Match[str]) -> bool:
    """Check ISO 13616: the first four characters moved to the end, letters as 10 … 35, remainder 1 by 97."""
    value = match[0].replace(" ", "").upper()
    return int("".join(str(int(character, 36)) for character in value[4:] + value[:4])) % 97 == 1


_VERSION = re.compile(
    r"(?:\b(?:v|ver|versions?|release|build|driver|firmware|chapter|section|update|windows|chrome|firefox|paragraph|kapitel"
    r"|abschnitt)\s?[.:]?\s?|§\s?|[=<>~^]=?\s?(?<=[=<>~^]=)|[A-Za-z]/)\Z",
    re.IGNORECASE,
)
_ADDRESS_WORD = re.compile(
    r"\b(?:ip|ipv4|address(?:es)?|addr|host|server|dns|ping|client|src|dst|gateway|router|login|banned|blocked)\b\W{0,3}"
    r"(?:\w{1,4}\W{1,2}){0,2}\Z",
    re.IGNORECASE,
)


def _is_public_address(match: re.Match[str]) -> bool:
    try:
        address = ipaddress.ip_address(match[0])
    except ValueError:
        return False
    before = match.string[max(0, match.start() - 30) : match.start()]
    if _VERSION.search(before) or not address.is_global or address.is_multicast:
        return False
    # 2.7.2.2 is far more often a version, and 1::2 a slice; all of IPv6 that is handed out begins with 2 or 3.
    first = address.packed[0]
    if address.version == 6:
        return first >> 5 == 1
    return first >= 10 or _ADDRESS_WORD.search(before) is not None


_FILE_SUFFIXES = frozenset(
    ["png", "jpg", "jpeg", "gif", "webp", "svg", "css", "js", "ts", "json", "html", "txt", "zip"]
)
_REMOTE = re.compile(r"(?:://|\b(?:ssh|scp|sftp|rsync|mosh)\b[^\n]{0,60})\Z")


def _is_email(match: re.Match[str]) -> bool:
    """Return whether an address is real: not of the domains that RFC 2606 reserves, no login on a host, no code.

    ``git@host``, ``user@host:path``, ``ssh://user@host`` and ``ssh user@host`` are logins; ``icon@2x.png`` is a file.
    """
    local, _, domain = match[0].lower().rpartition("@")
    labels = domain.split(".")
    reserved = labels[-2] == "example" or labels[-1] in {"example", "invalid", "test", "localhost", "local"}
    if reserved or ".." in local or local.endswith(".") or local == "git" or labels[-1] in _FILE_SUFFIXES:
        return False
    before, after = match.string[max(0, match.start() - 80) : match.start()], match.string[match.end() :][:2]
    is_path = after[:1] == ":" and not after[1:2].isspace() and len(after) == 2
    return not is_path and after[:1] not in ("(", "[") and not _REMOTE.search(before)


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
    _Detector("iban", _IBAN, _is_iban, _IBAN_START, 45),
    _Detector("card", _CARD, _is_card, _DIGITS, 3),
    _Detector("ip", _IPV4, _is_public_address, _DIGITS, 3),
    _Detector("ip", _IPV6, _is_public_address, _COLONS, 45),
    _Detector("phone", phones.FORM, phones.is_form, _DIGITS, 12),
    _Detector("phone", phones.GROUPS, phones.is_named, _DIGITS, 12),
)
