"""A pure function of the tokens in a model's place: an oracle for everything the engine does around a model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from seedbed.inference import sampler
from seedbed.inference.engine import Engine
from seedbed.inference.request import Event, Request, Token
from seedbed.inference.runner import BLOCK, LogitRows, TokenChunk

VOCABULARY = 32


class HashRunner:
    """Logits are a hash of what the blocks hold, so one wrong block, position or token changes everything after it.

    A position's content is its token; where the runner is not exact, also the chunk it was computed in, as the last
    bits of a real model's keys and values are. ``memory`` limits how many of the last contents are looked at, so that
    texts repeat themselves.
    """

    vocab_size = VOCABULARY
    max_rows = 512
    adapters = ("tuned",)
    switch_length = None

    def __init__(
        self, *, exact: bool, paged: bool = True, block_count: int = 64, max_length: int = 1000, memory: int = 10_000
    ) -> None:
        self.exact, self.paged, self.block_count = exact, paged, block_count
        self.max_length, self.memory = max_length, memory
        self.blocks: dict[int, dict[int, object]] = {}
        self.states: dict[int, list[object]] = {}
        self.forwards = self.rows = 0
        self.broken: Exception | None = None

    def forward(self, chunks: Sequence[TokenChunk]) -> LogitRows:
        if self.broken:
            raise self.broken
        assert chunks
        assert sum(len(chunk.tokens) for chunk in chunks) <= self.max_rows
        self.forwards += 1
        wanted = [row for chunk in chunks for row in self._chunk(chunk)]
        logits = torch.from_numpy(np.stack(wanted)) if wanted else torch.empty(0, VOCABULARY)
        return LogitRows(logits, logits.argmax(-1).tolist(), [float(row.logsumexp(-1)) for row in logits])

    def hidden(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor([[float(token), 1.0] for token in tokens])

    def release(self, slot: int) -> None:
        self.states.pop(slot, None)

    def _chunk(self, chunk: TokenChunk) -> list[np.ndarray]:
        assert len(chunk.tokens) > 0
        self.rows += len(chunk.tokens)
        stamp = None if self.exact else (chunk.start, len(chunk.tokens))
        contents = [(token, stamp, chunk.adapter) for token in chunk.tokens]
        history = self._paged(chunk, contents) if self.paged else self._recurrent(chunk, contents)
        ends = range(chunk.start + 1, len(history) + 1)[len(contents) - chunk.wanted :]
        return [hashed(history[max(0, end - self.memory) : end]) for end in ends]

    def _paged(self, chunk: TokenChunk, contents: list[object]) -> list[object]:
        end = chunk.start + len(contents)
        assert end <= self.max_length
        assert len(chunk.blocks) * BLOCK >= end
        assert all(0 <= block < self.block_count for block in chunk.blocks)
        for position, content in enumerate(contents, chunk.start):
            self.blocks.setdefault(chunk.blocks[position // BLOCK], {})[position % BLOCK] = content
        return [self.blocks[chunk.blocks[position // BLOCK]][position % BLOCK] for position in range(end)]

    def _recurrent(self, chunk: TokenChunk, contents: list[object]) -> list[object]:
        if chunk.start == 0:
            self.states[chunk.slot] = []
        state = self.states[chunk.slot]
        assert len(state) == chunk.start
        state += contents
        return state


def hashed(history: Sequence[object]) -> np.ndarray:
    """(V,) float32 logits."""
    seed = int.from_bytes(hashlib.sha256(repr(list(history)).encode()).digest()[:8], "little")
    return (np.random.Generator(np.random.PCG64(seed)).standard_normal(VOCABULARY) * 2).astype(np.float32)


def solo(runner: HashRunner, request: Request, ends: Sequence[int] = ()) -> list[Token]:
    """What a request must give: its prompt on the grid, then a token at a time, with nothing else around."""
    fresh = HashRunner(exact=runner.exact, paged=False, max_length=runner.max_length, memory=runner.memory)
    prompt, sampling, reply = list(request.prompt), request.sampling, list[int]()
    limit = min(sampling.max_tokens, min(runner.max_length, runner.block_count * BLOCK) - len(prompt) + 1)
    cells = [(start, prompt[start : start + BLOCK]) for start in range(0, len(prompt), BLOCK)]
    tokens: list[Token] = []
    while not (tokens and tokens[-1].finish):
        for start, cell in cells:
            rows = fresh.forward([TokenChunk(cell, start, [], 1, 0, request.adapter)])
        logits, logsumexp = rows.logits[0], rows.logsumexp[0]
        chosen = sampler.choose(logits, prompt, reply, sampling)
        cells = [(len(prompt) + len(reply), [chosen])]
        reply.append(chosen)
        finish = sampler.finish_of(chosen, len(reply), [] if sampling.ignore_end else ends, limit)
        best = logits.sort(descending=True, stable=True)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        top = tuple((token, value - logsumexp) for token, value in pairs)[: sampling.top_logprobs]
        tokens.append(Token(chosen, float(logits[chosen]) - logsumexp, finish, top))
    return tokens


def run_all(engine: Engine) -> dict[str, list[Event]]:
    """Step until idle; the events of each request. Fails at a step that does nothing, instead of waiting for ever."""
    events: dict[str, list[Event]] = {}
    while not engine.idle:
        before, found = engine.stats().computed, engine.step()
        assert found or engine.stats().computed > before, "a step computed nothing"
        for event in found:
            events.setdefault(event.request_id, []).append(event)
    return events


def tokens_of(events: list[Event]) -> list[Token]:
    assert all(event.error is None for event in events)
    return [event.token for event in events if event.token]
