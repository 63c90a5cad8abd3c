"""The CPU runner on the C++ kernel: rows of any sequences through a decoder's program.

A row is one position of one sequence. Rows of prompts and of running replies go side by side, and none depends on
another (``kernel/source/kernels.cpp`` says why), so the runner is ``exact``: however a sequence is cut, batched or
resumed, its bits are the same. Keys and values live in pages of 64 positions that sequences may share.

Left out: recurrent mixers, which have no positions to page; models with them run on PyTorch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from seedbed.core.machine import memory_bytes
from seedbed.core.progress import say
from seedbed.inference.kv_blocks import blocks_for
from seedbed.inference.runner import BLOCK, LogitRows, TokenChunk
from seedbed.inference.runners.decoder_program import DecoderProgram, page_floats
from seedbed.kernel.program import BatchStruct, SequenceSegment, give_scratch
from seedbed.models.decoder import Decoder
from seedbed.nn.lora import LowRank

ROWS = 512  # rows of one forward: enough that weights are read once for many, few enough that buffers stay small
_TABLES = ("token", "position", "turn", "pick", "adapter", "segment_of", "best")


class CpuRunner:
    """Runs a decoder, float32 or quantized, on the kernel; see :class:`seedbed.inference.runner.Runner`.

    Args:
        model: one that ``decoder_program.supported`` accepts.
        cache_bytes: most that keys and values may take; one full window unless given.
        adapters: low-rank additions by name.
        known: ids that the tokenizer knows; all rows of the embedding unless given.
    """

    exact = paged = True
    max_rows = ROWS

    def __init__(
        self,
        model: Decoder,
        cache_bytes: int | None = None,
        adapters: Mapping[str, Mapping[str, LowRank]] | None = None,
        known: int | None = None,
    ) -> None:
        config = model.config
        self.vocab_size, self.width = known or config.vocab_size, page_floats(config)
        self.switch_length = config.switch_length
        own = _pages(config.max_length, 4 * self.width)  # of our own, for embeddings
        self.max_length = min(config.max_length, own * BLOCK)
        self.adapters: Collection[str] = tuple(adapters or {})
        self.places = {name: place for place, name in enumerate(self.adapters)}
        parts = list((adapters or {}).values())
        self.program = DecoderProgram(model, ROWS, parts, self.vocab_size, self.max_length)
        self.block_count = own if cache_bytes is None else max(own, cache_bytes // (4 * self.width))
        self.own = range(self.block_count, self.block_count + own)
        self.pool = torch.empty(self.block_count + own, self.width)  # memory is taken when a page is first written
        self.table = {name: np.zeros(ROWS, dtype=np.int32) for name in _TABLES}
        self.logsumexp = np.zeros(ROWS, dtype=np.float32)
        self.batch = BatchStruct(pool=self.pool.data_ptr(), page_floats=self.width)
        for name, values in self.table.items():
            setattr(self.batch, name, values.ctypes.data)
        self.batch.logsumexp = self.logsumexp.ctypes.data
        self.memory = give_scratch(self.batch, self.program.matrices, ROWS, self.program.score_floats)
        self.head, self.logits = self.program.head(16)  # of more rows once they are wanted

    def forward(self, chunks: Sequence[TokenChunk]) -> LogitRows:
        """Compute the chunks' positions, write their keys and values, and return the wanted rows' logits."""
        kept = self._fill(chunks)
        self.program.body.run(self.batch)
        picks = self._pick(chunks)
        if not picks:
            return LogitRows(torch.empty(0, self.vocab_size), [], [])
        if len(self.logits) < picks:
            self.head, self.logits = self.program.head(picks)
        self.batch.picks = picks
        self.head.run(self.batch)
        del kept
        best, sums = self.table["best"][:picks].tolist(), self.logsumexp[:picks].tolist()
        return LogitRows(self.logits[:picks, : self.vocab_size], best, sums)

    def hidden(self, tokens: Sequence[int]) -> Tensor:
        """Return the last hidden states (T, D) after the final norm."""
        parts = []
        for start in range(0, len(tokens), ROWS):
            long = self.switch_length is not None and len(tokens) > self.switch_length
            kept = self._fill([TokenChunk(tokens[start : start + ROWS], start, self.own, 0, 0, long=long)])
            self.program.body.run(self.batch)
            self.program.final.run(self.batch)
            del kept
            parts.append(self.program.hidden[: self.batch.rows, : self.program.config.d_model].clone())
        return torch.cat(parts)

    def release(self, slot: int) -> None:
        """Do nothing: no state belongs to a slot."""

    def _fill(self, chunks: Sequence[TokenChunk]) -> object:
        """Write rows and segments of a batch, and return memory that must live until the batch has run."""
        segments = (SequenceSegment * len(chunks))()
        pages = [np.asarray(chunk.blocks, dtype=np.int32) for chunk in chunks]
        row = 0
        for place, (chunk, table) in enumerate(zip(chunks, pages, strict=True)):
            count = len(chunk.tokens)
            rows = slice(row, row + count)
            self.table["token"][rows] = chunk.tokens
            self.table["position"][rows] = range(chunk.start, chunk.start + count)
            self.table["turn"][rows] = self.table["position"][rows] + (self.switch_length or 0) * chunk.long
            self.table["segment_of"][rows] = place
            self.table["adapter"][rows] = self.places[chunk.adapter] if chunk.adapter else -1
            segments[place] = SequenceSegment(row, count, chunk.start, 0, table.ctypes.data)
            row += count
        self.batch.rows, self.batch.segments = row, len(chunks)
        self.batch.segment = ctypes.addressof(segments)
        return segments, pages

    def _pick(self, chunks: Sequence[TokenChunk]) -> int:
        """Write the rows whose logits are wanted, and return their number."""
        row = picks = 0
        for chunk in chunks:
            row += len(chunk.tokens)
            self.table["pick"][picks : picks + chunk.wanted] = range(row - chunk.wanted, row)
            picks += chunk.wanted
        return picks


def _pages(length: int, size: int) -> int:
    """Return the pages of ``size`` bytes for ``length`` positions, or as many as fill a quarter of the memory.

    Published windows go up to a million positions, whose keys and values need more memory than many machines have.
    """
    wanted, most = blocks_for(length), memory_bytes() // 4 // size
    if not most or wanted <= most:  # no machine too small for one page runs such a model
        return wanted
    say(f"the context window is cut from {length:,} to {most * BLOCK:,} tokens, whose keys and values fit in memory")
    return most
