"""The likely encoding of text whose encoding nothing declares: each is weighed by how likely the text is that it gives.

Every one-byte encoding is tried with the languages that are written in it. A letter costs -log2 of its share after
the letter before it (``letter_profiles.py``), a sign or an undefined byte by what stands next to it
(``sign_costs.py``), a Chinese, Japanese or Korean character by how usual it is (``character_ranks.py``). The encoding
whose text costs least wins; the certainty is its posterior probability. So a few dozen bytes are enough, where
statistics of bytes need pages.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

from seedbed.documents.character_ranks import LANGUAGES as WIDE_LANGUAGES
from seedbed.documents.character_ranks import text_cost
from seedbed.documents.letter_profiles import folded, profiles
from seedbed.documents.sign_costs import case_cost, sign_cost

_WEST = ("cp1252", "iso-8859-15", "cp850", "mac-roman")
_CENTRAL = ("cp1250", "iso-8859-2", "cp852", "mac-latin2")
_CYRILLIC = ("cp1251", "koi8-r", "koi8-u", "iso-8859-5", "cp866", "mac-cyrillic")
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("da de en es fi fr is it nl no pt sv", _WEST),
    ("cs de en hr hu pl sk sl sq", _CENTRAL),
    ("ro", (*_CENTRAL, "iso-8859-16")),
    ("en tr", ("cp1254", "cp857")),
    ("en et lt lv", ("cp1257", "iso-8859-13", "iso-8859-4", "cp775")),
    ("el", ("cp1253", "iso-8859-7", "cp737")),
    ("bg mk ru sr uk", _CYRILLIC),
    ("he", ("cp1255", "iso-8859-8", "cp862")),
    ("ar fa", ("cp1256", "iso-8859-6")),
    ("th", ("cp874",)),
)
"""Languages, and the encodings that they are written in."""
_RARITY = {
    "utf-8": 0,
    "cp1252": 0,
    "cp1250": 2,
    "cp1251": 1,
    "cp1254": 3,
    **dict.fromkeys(("cp1255", "cp1256", "cp1257", "cp874"), 2),
    "cp1253": 1,
    "koi8-r": 2,
    "koi8-u": 3,
    "iso-8859-2": 3,
    "iso-8859-4": 10,
}
_OTHER_RARITY = 6
"""Bits that an encoding costs before anything is read: those of Windows are met most, those of DOS and Mac seldom."""
_SAMPLE, _OFTEN = 3_000, 5
_PARTS = re.compile(rb"[^\n\x80-\xff]{0,60}[\x80-\xff][^\n]{0,200}")
MOST_CERTAIN = 0.99
"""No guess is certain, however long the text is."""
_TEMPER = 0.3
"""Weight of a bit in the certainty: neighbouring letters depend on each other, so their bits do not add up."""
_PLAIN_WEIGHT = 0.7


@dataclass(frozen=True)
class LikelyEncoding:
    """An encoding by Python's name, and the probability that it is right."""

    encoding: str
    certainty: float


def guess_encoding(sample: bytes) -> LikelyEncoding:
    """Return the likely encoding of a text that has bytes above 127."""
    evidence = _evidence(sample)
    costs = {name: cost + _RARITY.get(name, _OTHER_RARITY) for name, cost in _costs(evidence)}
    best = min(costs, key=lambda name: costs[name])
    text = evidence.decode(best, "replace")
    rivals = (cost for name, cost in costs.items() if evidence.decode(name, "replace") != text)
    return LikelyEncoding(best, MOST_CERTAIN / (1 + sum(2 ** (_TEMPER * (costs[best] - cost)) for cost in rivals)))


def _evidence(sample: bytes) -> bytes:
    """Return parts with high bytes, those first that have bytes not often seen before: rare ones tell pages apart."""
    seen = Counter[int]()
    kept, size = [], 0
    for part in _PARTS.findall(sample):
        high = [byte for byte in part if byte > 127]
        if size < _SAMPLE // 2 or (size < _SAMPLE and any(seen[byte] < _OFTEN for byte in high)):
            kept.append(part[: _SAMPLE - size])
            size += len(part)
            seen.update(high)
    return b"\n".join(kept)


def _costs(evidence: bytes) -> Iterator[tuple[str, float]]:
    """Yield each encoding with the bits that its text costs in the language that fits it best."""
    known = profiles()
    ascii_pairs = Counter(
        pair for pair in pairwise(folded(evidence.decode("ascii", "replace"))) if "\ufffd" not in pair
    )
    plain = {language: _PLAIN_WEIGHT * profile.cost(ascii_pairs) for language, profile in known.items()}
    for name in ("utf-8", *WIDE_LANGUAGES):
        yield name, text_cost(evidence, name, known["en"], _PLAIN_WEIGHT)
    triples = Counter(zip(b"\n" + evidence, evidence, evidence[1:] + b"\n", strict=False))
    high = {three: count for three, count in triples.items() if three[0] > 127 or three[1] > 127}
    least: dict[str, float] = {}
    for languages, encodings in _GROUPS:
        for encoding in encodings:
            signs, letters = _parts(high, encoding)
            cost = signs + min(plain[one] + known[one].cost(letters) for one in languages.split())
            least[encoding] = min(cost, least.get(encoding, cost))
    yield from least.items()


def _parts(high: Mapping[tuple[int, int, int], int], encoding: str) -> tuple[float, Counter[tuple[str, str]]]:
    """Return the bits of signs and cases, and the pairs of letters, in counted bytes with their neighbours."""
    signs, letters = 0.0, Counter[tuple[str, str]]()
    characters, small = _tables(encoding)
    for (before, byte, after), count in high.items():
        one, first, second = characters[byte], small[before], small[byte]
        signs += count * (sign_cost(characters[before], one, characters[after]) + case_cost(characters[before], one))
        if first != " " or second != " ":
            letters[first, second] += count
    return signs, letters


@cache
def _tables(encoding: str) -> tuple[str, str]:
    """Return the 256 characters of a one-byte encoding, as they are and folded."""
    characters = bytes(range(256)).decode(encoding, "replace")
    return characters, folded(characters)
