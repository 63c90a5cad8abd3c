"""The PyTorch runner: any decoder on any device, with keys and values in pages; sequences are computed together.

Chunks of one length are rows of one batch; attention is ragged over the pages (``nn/paged.py``). A row's last bits may
depend on how many rows there are, so it is the caller's choice (``rows``) how they go together:

A number, for CPUs: no shape depends on company. Single tokens go through the weights in tiles of that many rows, filled
up with padding; a prompt's chunk goes alone, and each row attends on its own. Whether a row's place in a tile changes
its bits is tried once, when the runner is made; if it does, and with mixtures of experts, whose products are as large
as experts are popular, tokens go one by one.

None, for GPUs: all that fits together is one batch, as large as it comes. That is fastest, and the last bits of a reply
may depend on what is computed beside it.

Recurrent states belong to one sequence, which is computed alone everywhere.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from seedbed.core.errors import CapacityError
from seedbed.inference.kv_blocks import blocks_for
from seedbed.inference.runner import BLOCK, LogitRows, TokenChunk
from seedbed.models.attention_masks import attention_mask
from seedbed.models.config import MixerKind
from seedbed.models.decoder import Decoder
from seedbed.models.stack import attends
from seedbed.nn.lora import LowRank
from seedbed.nn.mixer import State
from seedbed.nn.paged import AttentionGroup, PagedCache

TILE_ROWS = 8
"""Rows of a tile where many sequences run on a CPU: a tile costs 1.2 to 2.4 times as much as one token without tiles,
however many of its rows are padding."""


class TorchRunner:
    """Computes chunks with the modules of ``models`` and ``nn``; see :class:`seedbed.inference.runner.Runner`.

    Args:
        cache_bytes: room for keys and values; None for one full window.
        adapters: low-rank additions by name and layer path.
        known: ids that the tokenizer knows; all rows of the embedding unless given.
        rows: of a tile; 1 computes one sequence after another, None all in one batch whose bits depend on its size.

    Raises CapacityError where not even one block fits.
    """

    exact = False
    max_rows = 4096

    def __init__(
        self,
        model: Decoder,
        *,
        cache_bytes: int | None = None,
        adapters: Mapping[str, Mapping[str, LowRank]] | None = None,
        known: int | None = None,
        rows: int | None = 1,
    ) -> None:
        config, weight = model.config, next(model.parameters())
        self.model, self.device = model, weight.device
        self.adapters: Collection[str] = tuple(adapters or {})
        self._models: dict[str | None, Decoder] = {None: model}
        self._models.update((name, _adapted(model, parts)) for name, parts in (adapters or {}).items())
        self.vocab_size, self.max_length = known or config.vocab_size, config.max_length
        self.switch_length = config.switch_length
        self._attends = [attends(kind) for kind in model.kinds]
        self.paged = all(self._attends)
        self.block_count = self._blocks(cache_bytes, weight.element_size())
        size = (2, config.kv_heads, self.block_count * BLOCK, config.head_size)
        # empty, not zeros: untouched memory costs nothing
        self._pages = [
            torch.empty(size, device=self.device, dtype=weight.dtype) if one else None for one in self._attends
        ]
        self._recurrent: dict[int, list[State]] = {}
        self.rows = rows
        if rows and rows > 1 and (config.experts or not self.paged or not self._places_are_alike()):
            self.rows = 1

    @torch.inference_mode()
    def forward(self, chunks: Sequence[TokenChunk]) -> LogitRows:
        """Compute chunks, of one sequence in their order."""
        found: dict[int, Tensor] = {}
        for places in self._batches(chunks):
            batch = [chunks[place] for place in places]
            found.update(zip(places, self._logits(batch, self._feed(batch)), strict=True))
        parts = [found[place] for place in range(len(chunks)) if chunks[place].wanted]
        if not parts:
            return LogitRows(torch.empty(0, self.vocab_size, device=self.device), [], [])
        logits = torch.cat(parts)
        # Each part on its own: how a reduction is split may depend on the number of rows.
        parts = parts if self.rows else [logits]
        best, sums = [part.argmax(-1) for part in parts], [part.logsumexp(-1) for part in parts]
        return LogitRows(logits, torch.cat(best).tolist(), torch.cat(sums).tolist())

    @torch.inference_mode()
    def hidden(self, tokens: Sequence[int]) -> Tensor:
        """Return the last hidden states (T, D) of a text on its own."""
        return self.model.hidden(torch.tensor([list(tokens)], device=self.device))[0][0]

    def release(self, slot: int) -> None:
        """Forget a slot's recurrent state."""
        self._recurrent.pop(slot, None)

    def _blocks(self, cache_bytes: int | None, item: int) -> int:
        """Return how many blocks fit into the cache."""
        config = self.model.config
        if cache_bytes is None:
            return blocks_for(config.max_length)
        block_bytes = max(1, sum(self._attends) * 2 * config.kv_heads * BLOCK * config.head_size * item)
        if count := cache_bytes // block_bytes:
            return count
        what, why = f"a cache of {cache_bytes} bytes is too small", f"{BLOCK} tokens take {block_bytes} bytes"
        raise CapacityError(what, why=why, fix="allow more memory for the cache")

    def _places_are_alike(self) -> bool:
        """Compute one token in all rows of a tile; return whether all have the same bits."""
        for pages in self._pages:
            if pages is not None:
                pages[:, :, :BLOCK] = 0
        last = min(BLOCK, self.max_length) - 1
        for token in {0, self.vocab_size // 2, self.vocab_size - 1}:
            logits = self.forward([TokenChunk([token], last, [0], 1, 0)] * (self.rows or 1)).logits
            if not torch.equal(logits, logits[:1].expand_as(logits)):
                return False
        return True

    def _batches(self, chunks: Sequence[TokenChunk]) -> list[list[int]]:
        """Return places of chunks of one length, adapter and rotation, behind the earlier chunks of their sequences."""
        groups: dict[tuple[int, int, str | None, bool], list[int]] = {}
        turns: dict[int, tuple[int, int]] = {}  # of each slot: turn and length of its latest chunk
        for place, chunk in enumerate(chunks):
            length = len(chunk.tokens)
            turn, before = turns.get(chunk.slot, (0, length))
            turn += before != length
            turns[chunk.slot] = turn, length
            groups.setdefault((turn, length, chunk.adapter, chunk.long), []).append(place)
        batches = []
        for (_, length, _, _), places in sorted(groups.items(), key=lambda item: item[0][0]):
            most = self.max_rows if self.rows is None else self.rows if length == 1 else 1
            most = most if self.paged else 1
            batches += [places[at : at + most] for at in range(0, len(places), most)]
        return batches

    def _feed(self, batch: Sequence[TokenChunk]) -> Tensor:
        """Return the last hidden states (B, T, D); B is that of a full tile for single tokens on CPUs."""
        length = len(batch[0].tokens)
        ids = torch.zeros(self.rows or len(batch) if length == 1 else len(batch), length, dtype=torch.long)
        ids[: len(batch)] = torch.tensor([list(chunk.tokens) for chunk in batch])
        model = self._models[batch[0].adapter]
        hidden: Tensor
        hidden, after = model.hidden(ids.to(self.device), self._states(batch, ids.shape[0]))
        if not self.paged:
            self._recurrent[batch[0].slot] = list(after or ())
        return hidden

    def _logits(self, batch: Sequence[TokenChunk], hidden: Tensor) -> list[Tensor]:
        """Return each chunk's wanted rows of logits (R, V), from hidden states (B, T, D)."""
        length, counts = hidden.shape[1], [chunk.wanted for chunk in batch]
        if not sum(counts):
            return [hidden.new_empty(0, self.vocab_size)] * len(batch)
        rows = [place * length + row for place, count in enumerate(counts) for row in range(length - count, length)]
        flat, head = hidden.flatten(0, 1), self._models[batch[0].adapter].head
        # a tile goes through the head whole, whatever is wanted of it
        logits = head(flat)[rows] if length == 1 else head(flat[rows])
        return list(torch.split_with_sizes(logits[:, : self.vocab_size].float(), counts))

    def _states(self, batch: Sequence[TokenChunk], width: int) -> list[State]:
        """Return the state of every layer, for a batch filled up to ``width`` rows."""
        length = len(batch[0].tokens)
        used = torch.zeros(width, 1, dtype=torch.long)
        used[: len(batch), 0] = torch.tensor([chunk.start for chunk in batch])
        places = [_places(chunk) for chunk in batch]
        fresh, used = torch.cat([one[-length:] for one in places]).to(self.device), used.to(self.device)
        groups = {kind: self._groups(kind, batch, places) for kind in set(self.model.kinds) if attends(kind)}
        before = self._recurrent.get(batch[0].slot)
        return [
            PagedCache(pages, fresh, used, groups[kind], batch[0].long)
            if pages is not None
            else before[layer]
            if before
            else None
            for layer, (pages, kind) in enumerate(zip(self._pages, self.model.kinds, strict=True))
        ]

    def _groups(self, kind: MixerKind, batch: Sequence[TokenChunk], places: Sequence[Tensor]) -> list[AttentionGroup]:
        """Return rows that attend together: each alone where bits must not depend on company, or all."""
        if self.rows:
            rows = range(len(batch))
            return [AttentionGroup(slice(row, row + 1), *self._seen(kind, batch, [places[row]])) for row in rows]
        return [AttentionGroup(slice(0, len(batch)), *self._seen(kind, batch, places))]

    def _seen(
        self, kind: MixerKind, batch: Sequence[TokenChunk], places: Sequence[Tensor]
    ) -> tuple[Tensor | slice, Tensor | None, bool]:
        """Return what some rows see: places in the pages, mask, whether it is plainly causal.

        Shorter sequences are padded in front, with a place of their own: so all end together, and distances between
        queries and keys, on which masks depend, are the same in all rows.
        """
        length, counts = len(batch[0].tokens), [len(one) for one in places]
        most = max(counts)
        real = None
        if min(counts) < most:
            real = (torch.arange(most) >= most - torch.tensor(counts)[:, None]).to(self.device)
        config, start = self.model.config, most - length
        mask, causal = attention_mask(config, kind, start, length, self.device, real, self.model.relative)
        if len(places) == 1 and bool((places[0].diff() == 1).all()):  # a view
            return slice(int(places[0][0]), int(places[0][-1]) + 1), mask, causal
        padded = [torch.cat([one[:1].expand(most - len(one)), one]) for one in places]
        return torch.stack(padded).to(self.device), mask, causal


def _places(chunk: TokenChunk) -> Tensor:
    """Return where the positions up to the chunk's last lie in the pages."""
    end = chunk.start + len(chunk.tokens)
    blocks = torch.tensor(list(chunk.blocks[: blocks_for(end)]))
    return (blocks[:, None] * BLOCK + torch.arange(BLOCK)).flatten()[:end]


class _AdaptedLinear(nn.Module):
    """A linear layer with an adapter's low-rank addition."""

    def __init__(self, base: nn.Module, part: LowRank) -> None:
        super().__init__()
        self.base, self.part = base, part

    def forward(self, x: Tensor) -> Tensor:
        """(…, k) → (…, n)."""
        y: Tensor = self.base(x)
        return y + (self.part.scale * (x @ self.part.down.T.to(x)) @ self.part.up.T.to(x)).to(y)


def _adapted(model: Decoder, parts: Mapping[str, LowRank]) -> Decoder:
    """Return a model of the same tensors whose layers have an adapter's additions."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    made = copy.deepcopy(model, shared)
    for path, part in parts.items():
        made.set_submodule(path, _AdaptedLinear(made.get_submodule(path), part))
    return made
