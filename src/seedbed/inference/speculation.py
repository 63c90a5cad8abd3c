"""Guesses at the next tokens, checked by the model itself: several tokens for the price of one reading of the weights.

Guesses come from a small draft model (Leviathan et al. 2023), or from the text: what followed when the last tokens
occurred before (Saxena 2023, prompt lookup). The engine samples every checked position as always, with the noise of
that position, and keeps going while the sample equals the guess; so speculation changes when tokens come, never which.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from seedbed.inference.kv_blocks import BlockPool, blocks_for
from seedbed.inference.runner import Runner, TokenChunk, Want
from seedbed.inference.scheduler import Running

MOST = 8
"""Guesses for one sequence and step."""
ROWS = 16
"""Rows of decoding in one step, guesses included: with more, a step is no longer bound by reading the weights."""
_LONGEST, _SHORTEST = 4, 2  # tokens that must have occurred before
_LONGEST_REST = 64  # steps without guesses after they kept failing
_ITEM = array("i").itemsize


@dataclass
class _Track:
    """What is remembered of one slot's sequence: how well guesses did, its text, its place in the draft's cache."""

    width: int = MOST // 2
    rest: int = 0
    patience: int = 2
    text: bytearray = field(default_factory=bytearray)
    blocks: list[int] = field(default_factory=list)
    computed: int = 0


class Speculator:
    """Proposes for decoding sequences, and learns from what was accepted. ``draft`` None is prompt lookup."""

    def __init__(self, draft: Runner | None) -> None:
        self.drafted = self.accepted = 0
        self._draft, self._pool = draft, BlockPool(draft.block_count if draft else 0)
        self._tracks: dict[int, _Track] = {}

    def propose(self, decoding: Sequence[Running]) -> None:
        """Set the proposals of sequences whose newest token is the only one not computed."""
        rows = ROWS - len(decoding)
        wanted: list[tuple[Running, _Track, int]] = []
        for sequence in decoding:
            track = self._tracks.setdefault(sequence.slot, _Track())
            sequence.proposal, track.rest = [], max(0, track.rest - 1)
            track.computed = min(
                track.computed, len(sequence.tokens) - 1
            )  # the draft has read guesses that did not hold
            width = min(track.width, sequence.limit - sequence.written - 1, rows)
            if width > 0 and not track.rest:
                wanted.append((sequence, track, width))
                rows -= width
        if self._draft:
            self._ask(self._draft, wanted)
        for sequence, track, width in wanted:
            if not self._draft:
                sequence.proposal = look_up(sequence.tokens, track.text, width)
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
        self._pool.release(self._tracks.pop(slot, _Track()).blocks)

    def _ask(self, draft: Runner, wanted: Sequence[tuple[Running, _Track, int]]) -> None:
        """Let the draft read what it has not seen, then guess a token of every sequence at a time."""
        while True:
            asked, chunks, room = [], [], draft.max_rows
            for sequence, track, width in wanted:
                text = [*sequence.tokens, *sequence.proposal]
                end = min(len(text), track.computed + room)
                if end <= track.computed or len(sequence.proposal) == width or not self._reach(draft, track, end):
                    continue
                want: Want = "last" if end == len(text) else "none"
                chunk = TokenChunk(text[track.computed : end], track.computed, track.blocks, want, sequence.slot)
                chunks.append(chunk)
                asked += [sequence] * chunk.wanted
                room -= end - track.computed
                track.computed = end
            if not chunks:
                return
            for sequence, guess in zip(asked, draft.forward(chunks).best, strict=True):
                sequence.proposal.append(guess)

    def _reach(self, draft: Runner, track: _Track, end: int) -> bool:
        """Whether the draft has room for this many positions."""
        more = self._pool.take((), max(0, blocks_for(end) - len(track.blocks)))
        track.blocks += more or ()
        return more is not None and end <= draft.max_length


def look_up(tokens: Sequence[int], text: bytearray, width: int) -> list[int]:
    """What followed the last tokens where they occurred last before.

    Args:
        tokens: all so far.
        text: those seen at the last call as bytes, for a quick search; extended by this.
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
