"""The contract between the engine and a runner: chunks of sequences in, rows of logits out.

The engine decides which positions of which sequences are computed; a runner computes them and keeps their keys and
values in numbered blocks of ``BLOCK`` positions that the engine hands out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

BLOCK = 64
"""Positions of a KV block: the prefill grid, so that a cached block holds exactly one prefill step's work."""

Want = Literal["none", "last", "all"]
"""Rows of a chunk whose logits are returned."""


@dataclass(frozen=True)
class TokenChunk:
    """Consecutive positions of one sequence.

    Attributes:
        start: position of ``tokens[0]``.
        blocks: the KV of position p lives in block ``blocks[p // BLOCK]``.
        slot: small number that names the running sequence, for states that are not paged.
        adapter: name of the LoRA adapter, or None.
    """

    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    want: Want
    slot: int
    adapter: str | None = None

    @property
    def wanted(self) -> int:
        """Return the number of wanted rows."""
        return {"none": 0, "last": 1, "all": len(self.tokens)}[self.want]


@dataclass(frozen=True)
class LogitRows:
    """The wanted rows in order of chunks, then positions; valid until the next forward.

    Attributes:
        logits: (R, V) float32, V the runner's ``vocab_size``.
        best: the argmax of each row, the first of ties.
        logsumexp: of each row.
    """

    logits: Tensor
    best: list[int]
    logsumexp: list[float]


class Runner(Protocol):
    """A model that computes chunks.

    Attributes:
        vocab_size: ids that may be read and drawn: rows of the embedding that no token has are not among them.
        max_rows: positions one forward takes.
        block_count: KV blocks there is room for.
        exact: every row's bits depend only on its own sequence's tokens, however chunked and batched. Where false,
            only a prompt in chunks on the absolute grid and then single tokens reproduces, and that on CPUs alone: on
            a GPU the last bits may depend on what is computed in the same batch.
        paged: false where a recurrent state belongs to each slot: no prefix sharing, no going back.
        adapters: names of the LoRA adapters it has.
    """

    vocab_size: int
    max_length: int
    max_rows: int
    block_count: int
    exact: bool
    paged: bool
    adapters: Collection[str]

    def forward(self, chunks: Sequence[TokenChunk]) -> LogitRows:
        """Compute chunks; several of one sequence follow each other in order."""

    def hidden(self, tokens: Sequence[int]) -> Tensor:
        """Return the last hidden states (T, D) of a text on its own, after the final norm."""

    def release(self, slot: int) -> None:
        """Forget a slot's recurrent state."""
