"""Beam search: the most probable continuation that a bounded breadth-first search finds.

A finished hypothesis scores ``sum of log-probabilities / length ** length_penalty`` (the end token counts), as in
Hugging Face's ``generate(num_beams=…, do_sample=False)``; Wu et al. 2016, equation 14, divide by a shifted length
instead. Like theirs, the search looks at twice as many candidates as beams, so that ended ones leave enough to go on
with, and stops when no running beam at its present length would beat the worst of the finished ones kept.

A prompt is prefilled on the engine's grid of positions; only its last position goes through the output head.
Left out: beam sampling, groups, and penalties; each changes what "most probable" means.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from seedbed.core.progress import track
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Finish, Token
from seedbed.inference.runner import BLOCK
from seedbed.inference.sampler import finish_of
from seedbed.models.decoder import Decoder
from seedbed.nn.block import CrossState
from seedbed.nn.cache import KVCache
from seedbed.nn.mixer import State

Advance = Callable[[Sequence[int], list[State]], tuple[Tensor, list[State]]]
"""One token for each beam and their states to logits (B, V) and new states."""
Adjust = Callable[[Tensor, int], Tensor]
"""Log-probabilities (B, V) of a reply's next token and its length so far to what hypotheses are scored with."""


@dataclass(frozen=True)
class Hypothesis:
    """A continuation with the log-probability of each of its tokens."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    total: float = 0.0
    finish: Finish | None = None


def beam_search(
    model: Decoder, prompt: Sequence[int], end_ids: Collection[int], limit: int, sampling: Sampling, known: int
) -> list[Token]:
    """Return the best continuation of at most ``limit`` tokens that the beams find; ``known`` ids may be drawn."""
    length = len(prompt) + limit - 1
    logits, narrow = prefill(model, prompt, model.new_state(1, length))
    states = spread(narrow, model.new_state(sampling.beams, length), sampling.beams)
    return search(logits, states, partial(step, model), end_ids, limit, sampling, known)


def search(
    logits: Tensor,
    states: list[State],
    advance: Advance,
    end_ids: Collection[int],
    limit: int,
    sampling: Sampling,
    known: int,
    adjust: Adjust | None = None,
) -> list[Token]:
    """Search from the logits (1, V) of the first token on, with the states of all beams; ``known`` ids may be drawn."""
    running, finished, beams = [Hypothesis()], list[Hypothesis](), sampling.beams

    def score(one: Hypothesis) -> float:
        return one.total / math.pow(len(one.tokens), sampling.length_penalty)

    for _ in track(range(limit), "beam search", limit, "tokens"):
        candidates = expand(running, logits[:, :known], end_ids, limit, beams, adjust)
        ended = [hypothesis for _, hypothesis in candidates[:beams] if hypothesis.finish]
        finished = sorted([*finished, *ended], key=score, reverse=True)[:beams]
        alive = [(row, hypothesis) for row, hypothesis in candidates if not hypothesis.finish][:beams]
        running = [hypothesis for _, hypothesis in alive]
        if not running or (len(finished) == beams and score(running[0]) <= score(finished[-1])):
            break
        rows = torch.tensor(_filled([row for row, _ in alive], beams), device=logits.device)
        states = [reordered(state, rows) for state in states]
        logits, states = advance(_filled([one.tokens[-1] for one in running], beams), states)
    best = finished[0]
    tokens = [Token(token, logprob) for token, logprob in zip(best.tokens, best.logprobs, strict=True)]
    return [*tokens[:-1], replace(tokens[-1], finish=best.finish)]


def expand(
    running: Sequence[Hypothesis],
    logits: Tensor,
    end_ids: Collection[int],
    limit: int,
    beams: int,
    adjust: Adjust | None = None,
) -> list[tuple[int, Hypothesis]]:
    """Return the best candidates that are one token longer, best first, each with the row it continues.

    Logits: (at least as many rows as are running, V).
    """
    logprobs = logits[: len(running)].float().log_softmax(-1)
    scores = logprobs if adjust is None else adjust(logprobs, len(running[0].tokens))
    totals = scores.double() + torch.tensor([one.total for one in running], device=logits.device)[:, None]
    wanted = max(2, 1 + len(end_ids)) * beams
    best = totals.flatten().topk(min(wanted, totals.numel()))
    candidates = []
    for total, place in zip(best.values.tolist(), best.indices.tolist(), strict=True):
        if total == -math.inf:
            break  # forbidden, as are all that follow
        row, token = divmod(place, logits.shape[-1])
        tokens, found = (*running[row].tokens, token), (*running[row].logprobs, float(logprobs[row, token]))
        candidates.append((row, Hypothesis(tokens, found, total, finish_of(token, len(tokens), end_ids, limit))))
    return candidates


def _filled(values: list[int], beams: int) -> list[int]:
    """Return as many values as there are beams; rows without a hypothesis repeat the first and are not read."""
    return values + values[:1] * (beams - len(values))


@torch.inference_mode()
def prefill(model: Decoder, prompt: Sequence[int], states: list[State]) -> tuple[Tensor, list[State]]:
    """Feed a prompt to fresh states. Returns the logits (1, V) after its last token, and the new states."""
    ids = torch.tensor([list(prompt)], device=next(model.parameters()).device)  # (1, T)
    for start in range(0, len(prompt), BLOCK):
        logits, states = _feed(model, ids[:, start : start + BLOCK], states)
    return logits, states


@torch.inference_mode()
def step(model: Decoder, tokens: Sequence[int], states: list[State]) -> tuple[Tensor, list[State]]:
    """Feed one token to each of B sequences. Returns their logits, (B, V), and the new states."""
    ids = torch.tensor(tokens, device=next(model.parameters()).device)[:, None]  # (B, 1)
    return _feed(model, ids, states)


def _feed(model: Decoder, ids: Tensor, states: list[State]) -> tuple[Tensor, list[State]]:
    hidden, after = model.hidden(ids, states)
    assert after is not None  # states in, states out
    return model.head(hidden[:, -1]), after


def spread(narrow: list[State], wide: list[State], beams: int) -> list[State]:
    """Return one sequence's states for every beam; caches are copied into those of ``wide``."""
    return [_spread(old, new, beams) for old, new in zip(narrow, wide, strict=True)]


def reordered(state: State, rows: Tensor) -> State:
    """Return a state in which sequence i continues the former sequence ``rows[i]``; caches change in place."""
    if isinstance(state, CrossState):
        return CrossState(reordered(state.mixer, rows), state.cross)
    if not isinstance(state, KVCache):
        return _pick(state, rows)
    state.reorder(rows)
    return state


def _spread(old: State, new: State, beams: int) -> State:
    if isinstance(old, CrossState):
        cross = tuple(part.expand(beams, -1, -1, -1) for part in old.cross)  # all beams read the same text
        return CrossState(_spread(old.mixer, new.mixer, beams), cross)
    if not isinstance(old, KVCache):
        return _pick(old, torch.zeros(beams, dtype=torch.long))
    used, shape = slice(0, old.used), (beams, -1, -1, -1)
    new.append(old.k[:, :, used].expand(shape), old.v[:, :, used].expand(shape))
    return new


def _pick(state: State, rows: Tensor) -> State:
    """Rows of a recurrent state: h, or (h, c), each (1, B, D)."""
    if isinstance(state, tuple):
        return tuple(_pick(part, rows) for part in state)
    return state.index_select(1, rows.to(state.device))
