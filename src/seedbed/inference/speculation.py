"""Guess the next tokens, and let the model check them: several tokens for the price of one reading of the weights.

Guesses come from the text itself: what followed the previous occurrence of its last tokens (Saxena 2023, prompt
lookup). The engine samples every checked position as always, with the noise of that position, and keeps going while
the sample equals the guess; so speculation changes when tokens come, never which. Left out: guesses of a second,
smaller model (Leviathan et al. 2023).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from seedbed.inference.scheduler import Running

MOST = 8  # guesses for one sequence and step
ROWS = 16  # rows of decoding in one step, guesses included: with more, a step is no longer bound by reading the weights
_LONGEST, _SHORTEST = 4, 2  # tokens that must have occurred before
_LONGEST_REST = 64  # steps without guesses after they kept failing
_ITEM = array("i").itemsize


@dataclass
class _Track:
    """State of guessing for one slot: how many tokens to guess, how long to rest, and the sequence's bytes so far."""

    width: int = MOST // 2
    rest: int = 0
    patience: int = 2
    text: bytearray = field(default_factory=bytearray)


class Speculator:
    """Proposes tokens for decoding sequences, and adapts to how many were accepted."""

    def __init__(self) -> None:
        self.drafted = self.accepted = 0
        self._tracks: dict[int, _Track] = {}

    def propose(self, decoding: Sequence[Running]) -> None:
        """Set the proposals of sequences whose newest token is the only one not computed."""
        rows = ROWS - len(decoding)
        for sequence in decoding:
            track = self._tracks.setdefault(sequence.slot, _Track())
            sequence.proposal, track.rest = [], max(0, track.rest - 1)
            width = min(track.width, sequence.limit - sequence.written - 1, rows)
            if width > 0 and not track.rest:
                sequence.proposal = look_up(sequence.tokens, track.text, width)
                rows -= width
            if sequence.matcher:
                del sequence.proposal[sequence.matcher.agrees(sequence.proposal) :]

    def learn(self, sequence: Running, proposed: int, accepted: int) -> None:
        """Guess more where guesses hold; rest, longer each time, where they never do."""
        track = self._tracks[sequence.slot]
        self.drafted, self.accepted = self.drafted + proposed, self.accepted + accepted
        if accepted == proposed:
            track.width, track.patience = min(MOST, 2 * track.width), 2
        elif 2 * accepted < proposed:
            track.width //= 2
        if not track.width:
            track.width, track.rest = 1, track.patience
            track.patience = min(_LONGEST_REST, 2 * track.patience)

    def release(self, slot: int) -> None:
        """Forget a slot's sequence."""
        self._tracks.pop(slot, None)


def look_up(tokens: Sequence[int], text: bytearray, width: int) -> list[int]:
    """Prompt lookup: return what followed the previous occurrence of the current suffix, at most ``width`` tokens.

    ``text`` has the tokens of the last call as bytes, for a quick search; extended by this.
    """
    text += array("i", tokens[len(text) // _ITEM :]).tobytes()
    for size in range(_LONGEST, _SHORTEST - 1, -1):
        place, end = -1, len(text) - _ITEM  # an occurrence other than the last one
        while (place := text.rfind(text[-size * _ITEM :], 0, end)) % _ITEM:
            if place < 0:
                break
            end = place + size * _ITEM - 1  # it began inside a token
        if place >= 0:
            after = place // _ITEM + size
            return list(tokens[after : after + width])
    return []
