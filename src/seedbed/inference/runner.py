"""What the engine needs from whatever computes: chunks of sequences in, rows of logits out.

The engine decides which positions of which sequences are computed; a runner computes them and keeps their keys and
values in numbered blocks of ``BLOCK`` positions that the engine hands out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from seedbed.core.errors import UsageError
from seedbed.inference.decoding import GRID
from seedbed.models.program import supported
from seedbed.models.store import LoadedModel
from seedbed.nn.lora import LowRank
from seedbed.nn.native.library import library

BLOCK = GRID
"""Positions of a KV block: the prefill grid, so that a cached block holds exactly one prefill step's work."""

Want = Literal["none", "last", "all"]
"""Rows of a chunk whose logits are returned."""


@dataclass(frozen=True)
class Chunk:
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
        """How many rows are returned."""
        return {"none": 0, "last": 1, "all": len(self.tokens)}[self.want]


@dataclass(frozen=True)
class Rows:
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
            only a prompt in chunks on the absolute grid and then single tokens reproduces.
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

    def forward(self, chunks: Sequence[Chunk]) -> Rows:
        """Compute chunks; several of one sequence follow each other in order."""

    def hidden(self, tokens: Sequence[int]) -> Tensor:
        """The last hidden states (T, D) of a text on its own, after the final norm."""

    def release(self, slot: int) -> None:
        """Forget a slot's recurrent state."""


def known_ids(loaded: LoadedModel) -> int:
    """How many ids may be drawn: embeddings may have more rows than there are tokens."""
    return min(loaded.tokenizer.vocab_size, loaded.model.config.vocab_size)


def make_runner(
    loaded: LoadedModel,
    *,
    cache_bytes: int | None = None,
    adapters: Mapping[str, Mapping[str, LowRank]] | None = None,
) -> Runner:
    """The fastest runner there is for a model, with room for ``cache_bytes`` of keys and values.

    The kernel where one can be built and the model is on a CPU and of a shape it knows; PyTorch otherwise.

    Args:
        cache_bytes: one full window unless given.
        adapters: LoRA adapters by name (``nn.lora.read_adapter``).

    Raises:
        UsageError: adapters are asked for where only PyTorch can run the model.
    """
    from seedbed.inference.native import NativeRunner  # both import this file
    from seedbed.inference.torch_runner import TorchRunner

    on_cpu = next(loaded.model.parameters()).device.type == "cpu"
    if on_cpu and supported(loaded.model.config) and library() is not None:
        return NativeRunner(loaded.model, cache_bytes, adapters, known_ids(loaded))
    if adapters:
        raise UsageError(
            "adapters cannot be used with this model here",
            why="they are added by the CPU kernel, which this machine or model does without",
            fix="install a C++ compiler, or merge the adapter into the model",
        )
    return TorchRunner(loaded.model, cache_bytes=cache_bytes, known=known_ids(loaded))
