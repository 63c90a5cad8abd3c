"""Any decoder on any device, with keys and values in pages. Sequences are computed one after another.

Batching them in one matrix product would make a row's last bits depend on its neighbours; the price is that many
sequences at once are no faster than in turn. Where a sequence's blocks follow each other, which they mostly do, its
cache is a view of the pages; otherwise it is gathered and what is new is written back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from seedbed.core.errors import CapacityError
from seedbed.inference.kv_blocks import blocks_for
from seedbed.inference.runner import BLOCK, LogitRows, TokenChunk
from seedbed.models.decoder import Decoder
from seedbed.nn.cache import KVCache
from seedbed.nn.mixer import State


class PageCache(KVCache):
    """One sequence's keys and values in one layer's pages, as attention knows them.

    Args:
        pages: keys and values of all blocks, (2, H_kv, blocks * BLOCK, D).
        blocks: those of the sequence.
        used: positions filled.
    """

    def __init__(self, pages: Tensor, blocks: Sequence[int], used: int) -> None:
        self.pages, self.blocks, self.used = pages, blocks, used
        first = blocks[0]
        self.is_view = list(blocks) == list(range(first, first + len(blocks)))
        if self.is_view:
            slabs = pages[:, :, first * BLOCK : (first + len(blocks)) * BLOCK]
        else:
            slabs = torch.cat([pages[:, :, block * BLOCK : (block + 1) * BLOCK] for block in blocks], 2)
        self.k, self.v = slabs[0, None], slabs[1, None]  # (1, H_kv, L, D)

    def write_back(self, start: int) -> None:
        """Store the positions from ``start`` on."""
        for index in () if self.is_view else range(start // BLOCK, len(self.blocks)):
            here, there = (slice(place * BLOCK, (place + 1) * BLOCK) for place in (index, self.blocks[index]))
            self.pages[0, :, there], self.pages[1, :, there] = self.k[0, :, here], self.v[0, :, here]


class TorchRunner:
    """Computes chunks with the modules of ``models`` and ``nn``; see :class:`seedbed.inference.runner.Runner`.

    Args:
        model: a decoder in evaluation mode.
        cache_bytes: room for keys and values; None for one full window.
        known: ids that the tokenizer knows; all rows of the embedding unless given.

    Raises:
        CapacityError: not even one block fits.
    """

    exact = False
    max_rows = 4096
    adapters: Collection[str] = ()

    def __init__(self, model: Decoder, *, cache_bytes: int | None = None, known: int | None = None) -> None:
        config, weight = model.config, next(model.parameters())
        self.model, self.device = model, weight.device
        self.vocab_size, self.max_length = known or config.vocab_size, config.max_length
        attends = [config.mixer(layer) in ("attention", "sliding") for layer in range(config.n_layers)]
        self.paged = all(attends)
        shape = (2, config.kv_heads, BLOCK, config.head_size)
        block_bytes = max(1, sum(attends) * torch.Size(shape).numel() * weight.element_size())
        self.block_count = blocks_for(config.max_length) if cache_bytes is None else cache_bytes // block_bytes
        if not self.block_count:
            raise CapacityError(
                f"a cache of {cache_bytes} bytes holds no text",
                why=f"{BLOCK} tokens take {block_bytes} bytes",
                fix="allow more memory for the cache",
            )
        size = (2, config.kv_heads, self.block_count * BLOCK, config.head_size)
        # empty, not zeros: untouched memory costs nothing
        self._pages = [torch.empty(size, device=self.device, dtype=weight.dtype) if one else None for one in attends]
        self._recurrent: dict[int, list[State]] = {}

    @torch.inference_mode()
    def forward(self, chunks: Sequence[TokenChunk]) -> LogitRows:
        """Compute chunks in order."""
        parts = []
        for chunk in chunks:
            hidden = self._feed(chunk)  # (T, D)
            if chunk.wanted:
                parts.append(self.model.head(hidden[-chunk.wanted :])[:, : self.vocab_size].float())
        if not parts:
            return LogitRows(torch.empty(0, self.vocab_size, device=self.device), [], [])
        # Each part on its own: how a reduction is split may depend on the number of rows.
        best, sums = [part.argmax(-1) for part in parts], [part.logsumexp(-1) for part in parts]
        return LogitRows(torch.cat(parts), torch.cat(best).tolist(), torch.cat(sums).tolist())

    @torch.inference_mode()
    def hidden(self, tokens: Sequence[int]) -> Tensor:
        """The last hidden states (T, D) of a text on its own."""
        return self.model.hidden(torch.tensor([list(tokens)], device=self.device))[0][0]

    def release(self, slot: int) -> None:
        """Forget a slot's recurrent state."""
        self._recurrent.pop(slot, None)

    def _feed(self, chunk: TokenChunk) -> Tensor:
        hidden, states = self.model.hidden(torch.tensor([list(chunk.tokens)], device=self.device), self._states(chunk))
        for state in states or ():
            if isinstance(state, PageCache):
                state.write_back(chunk.start)
        if not self.paged:
            self._recurrent[chunk.slot] = list(states or ())
        return hidden[0]

    def _states(self, chunk: TokenChunk) -> list[State]:
        blocks = chunk.blocks[: blocks_for(chunk.start + len(chunk.tokens))]
        before = self._recurrent.get(chunk.slot)
        return [
            PageCache(pages, blocks, chunk.start) if pages is not None else before[layer] if before else None
            for layer, pages in enumerate(self._pages)
        ]
