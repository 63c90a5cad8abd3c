"""Beam search: the most probable continuation that a bounded breadth-first search finds.

A finished hypothesis scores ``sum of log-probabilities / length ** length_penalty`` (the end token counts), as in
Hugging Face's ``generate(num_beams=…, do_sample=False)``; Wu et al. 2016, equation 14, divide by a shifted length
instead. Like theirs, the search looks at twice as many candidates as beams, so that ended ones leave enough to go on
with, and stops when no running beam at its present length would beat the worst of the finished ones kept.

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
from seedbed.inference.beam_cache import reordered, spread
from seedbed.inference.decoding import Finish, Token, finish_of, prefill, step
from seedbed.models.decoder import Decoder
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

    def score(self, length_penalty: float) -> float:
        """Log-probability, normalized by length."""
        return self.total / math.pow(len(self.tokens), length_penalty)

    def extended(self, token: int, logprob: float, total: float, finish: Finish | None) -> Hypothesis:
        """This one with one more token, and ``total`` with it."""
        return Hypothesis((*self.tokens, token), (*self.logprobs, logprob), total, finish)


def beam_search(
    model: Decoder,
    prompt: Sequence[int],
    end_ids: Collection[int],
    limit: int,
    beams: int,
    length_penalty: float,
    *,
    known: int | None = None,
) -> list[Token]:
    """The best continuation of ``prompt`` of at most ``limit`` tokens that ``beams`` beams find.

    Args:
        known: ids that may be drawn, of all rows of the embedding.
    """
    length = len(prompt) + limit - 1
    logits, narrow = prefill(model, prompt, model.new_state(1, length))
    states = spread(narrow, model.new_state(beams, length), beams)
    return search(logits, states, partial(step, model), end_ids, limit, beams, length_penalty, known=known)


def search(
    logits: Tensor,
    states: list[State],
    advance: Advance,
    end_ids: Collection[int],
    limit: int,
    beams: int,
    length_penalty: float,
    *,
    known: int | None = None,
    adjust: Adjust | None = None,
) -> list[Token]:
    """The search from the logits (1, V) of the first token on, with the states of all beams."""
    running, finished = [Hypothesis()], list[Hypothesis]()
    for _ in track(range(limit), "beam search", limit, "tokens"):
        candidates = expand(running, logits[:, :known], end_ids, limit, beams, adjust)
        ended = [hypothesis for _, hypothesis in candidates[:beams] if hypothesis.finish]
        finished = sorted([*finished, *ended], key=lambda one: one.score(length_penalty), reverse=True)[:beams]
        alive = [(row, hypothesis) for row, hypothesis in candidates if not hypothesis.finish][:beams]
        running = [hypothesis for _, hypothesis in alive]
        if not running or _settled(running, finished, beams, length_penalty):
            break
        rows = [row for row, _ in alive]
        states = reordered(states, torch.tensor(_filled(rows, beams), device=logits.device))
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
    """The best candidates one token longer, best first, each with the row it continues.

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
        before = running[row]
        finish = finish_of(token, len(before.tokens) + 1, end_ids, limit)
        candidates.append((row, before.extended(token, float(logprobs[row, token]), total, finish)))
    return candidates


def _settled(running: Sequence[Hypothesis], finished: Sequence[Hypothesis], beams: int, length_penalty: float) -> bool:
    """Whether enough have finished and the best running beam, were it to end now, would not displace the worst."""
    return len(finished) == beams and running[0].score(length_penalty) <= finished[-1].score(length_penalty)


def _filled(values: list[int], beams: int) -> list[int]:
    """As many values as there are beams; rows without a hypothesis repeat the first and are not looked at."""
    return values + values[:1] * (beams - len(values))
