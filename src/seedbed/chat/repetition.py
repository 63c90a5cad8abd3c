"""Loops: a reply that has begun to repeat itself and would go on until its limit, noticed as its tokens come.

The rule: the end of the reply is one period of p tokens, repeated. It is a loop when it holds at least ``COPIES`` whole
copies and has at least ``TOKENS`` tokens in all, so a word may be said more often than a paragraph. Every period is
possible, from one token to a quarter of the reply. A period is looked at when the length of the reply is a multiple of
it: a loop is seen at most p - 1 tokens after the rule first holds, and a reply of N tokens costs about N ln N
comparisons, not N².

Only exact repetition counts: the rows of a table, numbered lists, lines of code and refrains between verses are alike,
not equal. Tokens are compared, not characters: greedy decoding, which loops most, spells a text the same way each time.
Left out: loops in which a number or a name changes, which cannot be told from a list.

Tails are compared by hashes of prefixes (Karp and Rabin 1987) modulo 2^61 - 1; in a reply of 100,000 tokens the
probability that two different ones are taken for equal is below 10^-6. ``benchmarks/repetition.py`` chose the two
constants; ``docs/log.md`` has the figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

COPIES = 4
"""Copies of a period that are a loop."""
TOKENS = 64
"""Tokens that these copies have together, at least."""
_MODULUS, _BASE = 2**61 - 1, 1_140_671_485_119_773_413
_ENDS = ".!?…。！？\n"  # characters after which a text may well end


@dataclass(frozen=True)
class Repetition:
    """The loop that ended a reply: its last ``period`` tokens had been written ``times`` times in a row.

    ``kept_characters`` and ``kept_tokens`` reach to the end of the first copy.
    """

    period: int
    times: int
    kept_characters: int
    kept_tokens: int

    def to_wire(self) -> dict[str, int]:
        """Return it as an answer holds it."""
        return asdict(self)

    @classmethod
    def from_wire(cls, data: Mapping[str, object] | None) -> Repetition | None:
        """Read it; None where there is none, or another server means something else by the name."""
        names = ("period", "times", "kept_characters", "kept_tokens")
        found = [data.get(name) for name in names] if isinstance(data, Mapping) else []
        numbers = [one for one in found if isinstance(one, int)]
        return cls(*numbers) if len(numbers) == len(names) else None

    def __str__(self) -> str:
        what = "one token" if self.period == 1 else f"{self.period} tokens"
        return f"the reply was stopped: it had repeated {what} {self.times} times in a row"


class LoopDetector:
    """Reads one reply, a token at a time, and tells when it has become a loop."""

    def __init__(self, copies: int = COPIES, least: int = TOKENS) -> None:
        self.copies, self.least = copies, least
        self.ids: list[int] = []
        self._hashes, self._powers = [0], [1]
        self._due: dict[int, list[int]] = {}  # periods, by the length of the reply at which they are looked at

    def add(self, token: int) -> int | None:
        """Take the next token. Returns the shortest period of the loop that is seen with it, if one is."""
        self.ids.append(token)
        self._hashes.append((self._hashes[-1] * _BASE + token + 1) % _MODULUS)
        self._powers.append(self._powers[-1] * _BASE % _MODULUS)
        length, found = len(self.ids), None
        periods = self._due.pop(length, [])
        if length % self.copies == 0:
            periods.append(length // self.copies)  # from now on there is room for its copies
        for period in periods:
            self._due.setdefault(length + period, []).append(period)
            if (found is None or period < found) and self._repeats(period):
                found = period
        return found

    def start(self, period: int) -> int:
        """Return the place of the first token of the tail that has this period."""
        place = len(self.ids) - period
        while place and self.ids[place - 1] == self.ids[place - 1 + period]:
            place -= 1
        return place

    def _repeats(self, period: int) -> bool:
        """Tell whether the tail that the rule asks for has this period."""
        length = len(self.ids)
        first = length - max(self.copies * period, self.least)
        return first >= 0 and self._hash(first, length - period) == self._hash(first + period, length)

    def _hash(self, start: int, end: int) -> int:
        return (self._hashes[end] - self._hashes[start] * self._powers[end - start]) % _MODULUS


class RepetitionGuard:
    """Watches a reply for loops, and knows which part of its text comes before the second copy."""

    def __init__(self) -> None:
        self._detector, self._ends = LoopDetector(), list[int]()  # the characters that there are after each token

    def add(self, token: int, characters: int) -> int | None:
        """Take a token, and the number of characters of the reply with it. Returns the period of a loop."""
        self._ends.append(characters)
        return self._detector.add(token)

    def repetition(self, period: int, text: str) -> Repetition:
        """Describe the loop at the end of a text.

        The first copy is kept, and as much of the second one as it takes to end with a sentence or a line: chance may
        have made a loop begin in the middle of one.
        """
        start = self._detector.start(period)
        places = range(start + period, start + 2 * period)
        kept = next((one for one in places if text[: self._ends[one - 1]].rstrip(" ")[-1:] in _ENDS), places[0])
        return Repetition(period, (len(self._ends) - start) // period, self._ends[kept - 1], kept)
