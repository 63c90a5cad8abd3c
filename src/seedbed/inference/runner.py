"""The contract between the engine and a runner: chunks of sequences in, rows of logits out.

The engine decides which positions of which sequences are computed; a runner computes them and keeps their keys and
values in numbered blocks of ``BLOCK`` positions that the engine hands out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

BLOCK = 64  # positions of a KV block: the prefill grid, so that a cached block holds exactly one prefill step's work


@dataclass(frozen=True)
class TokenChunk:
    """Consecutive positions of one sequence."""

    tokens: Sequence[int]
    start: int  # position of ``tokens[0]``
    blocks: Sequence[int]  # the KV of position p lives in block ``blocks[p // BLOCK]``
    wanted: int  # how many of the last rows' logits are returned
    slot: int  # small number that names the running sequence, for states that are not paged
    adapter: str | None = None  # name of a LoRA adapter
    long: bool = False  # its sequence is longer than the runner's ``switch_length``


@dataclass(frozen=True)
class LogitRows:
    """The wanted rows in order of chunks, then positions; valid until the next forward."""

    logits: Tensor  # (R, V) float32, V the runner's ``vocab_size``
    best: list[int]  # the argmax of each row, the first of ties
    logsumexp: list[float]


class Runner(Protocol):
    """A model that computes chunks.

    Where it is ``exact``, every row's bits depend only on its own sequence's tokens, however chunked and batched.
    Elsewhere only a prompt in chunks on the absolute grid and then single tokens reproduces, and that on CPUs alone: on
    a GPU the last bits may depend on what is computed in the same batch.
    """

    vocab_size: int  # ids that may be read and drawn: rows of the embedding that no token has are not among them
    max_length: int
    max_rows: int  # positions one forward takes
    block_count: int  # KV blocks there is room for
    exact: bool
    paged: bool  # false where a recurrent state belongs to each slot: no prefix sharing, no going back
    adapters: Collection[str]  # names of its LoRA adapters
    switch_length: int | None  # a sequence that grows beyond it is computed anew, all of it ``long`` (LongRoPE)

    def forward(self, chunks: Sequence[TokenChunk]) -> LogitRows:
        """Compute chunks; several of one sequence follow each other in order."""

    def hidden(self, tokens: Sequence[int]) -> Tensor:
        """Return the last hidden states (T, D) of a text on its own, after the final norm."""

    def release(self, slot: int) -> None:
        """Forget a slot's recurrent state."""
