"""Sampling: pure functions from one row of logits, (V,) float32, to the next token's id.

The order is Hugging Face's: repetition, frequency and presence penalties, logit bias, what a grammar allows,
temperature, top-k, top-p, min-p, draw. Filtered tokens get -inf. The repetition penalty is CTRL's (Keskar et al. 2019,
section 4.1) with the usual repair for negative logits (multiply instead of divide) and counts prompt and reply;
frequency and presence penalties are those of the OpenAI API (``mu[j] -= c[j] * frequency + [c[j] > 0] * presence``)
and count the reply alone. Min-p is Nguyen et al. 2024, top-p Holtzman et al. 2020.

The draw is the Gumbel-max trick in its exponential form: with independent E_j ~ Exp(1), ``argmax p_j / E_j`` follows p.
The noise comes from a counter-based generator (Philox; Salmon et al. 2011) keyed by (seed, position), not from a
stream that others advance: the same request draws the same tokens alone or in any batch, resumed or from the start.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Finish

_TINY = 1e-300
Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


def choose(
    logits: Tensor, prompt: Sequence[int], reply: Sequence[int], sampling: Sampling, allowed: Mask | None = None
) -> int:
    """Return the id of the next token by the model's scores, (V,), which are left unchanged.

    The seed is fixed unless sampling is greedy. ``allowed`` tells of each token whether it may come next; those beyond
    its end may not.
    """
    scores = bias(penalize(logits.float(), prompt, reply, sampling), sampling.logit_bias)
    if allowed is not None:
        scores = mask(scores, allowed)
    if sampling.greedy:
        return int(scores.argmax())
    return draw(restrict(scores, sampling), sampling.seed or 0, position=len(prompt) + len(reply))


def penalize(logits: Tensor, prompt: Sequence[int], reply: Sequence[int], sampling: Sampling) -> Tensor:
    """Apply all three penalties. Logits in and out: (V,)."""
    if sampling.repetition_penalty != 1:
        logits = repetition(logits, torch.tensor([*prompt, *reply], device=logits.device), sampling.repetition_penalty)
    if reply and (sampling.frequency_penalty or sampling.presence_penalty):
        counts = torch.bincount(torch.tensor(reply, device=logits.device), minlength=logits.numel())
        logits = logits - counts * sampling.frequency_penalty - (counts > 0) * sampling.presence_penalty
    return logits


def bias(logits: Tensor, biases: Sequence[tuple[int, float]]) -> Tensor:
    """Add to the logits of some tokens. Logits in and out: (V,)."""
    if not biases:
        return logits
    ids, values = zip(*biases, strict=True)
    place, added = torch.tensor(ids, device=logits.device), torch.tensor(values, device=logits.device)
    return logits.index_put((place,), added.to(logits.dtype), accumulate=True)


def mask(logits: Tensor, allowed: Mask) -> Tensor:
    """Drop tokens that are not allowed. Logits in and out: (V,); the mask may be shorter or padded to whole bytes."""
    kept = np.zeros(logits.numel(), np.bool_)
    size = min(kept.size, allowed.size)
    kept[:size] = allowed[:size]
    return logits.masked_fill(~torch.from_numpy(kept).to(logits.device), float("-inf"))


def restrict(logits: Tensor, sampling: Sampling) -> Tensor:
    """Apply the temperature, then the three filters. Logits in and out: (V,); dropped tokens are -inf."""
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.numel():
        logits = top_k(logits, sampling.top_k)
    if sampling.top_p < 1:
        logits = top_p(logits, sampling.top_p)
    if sampling.min_p > 0:
        logits = min_p(logits, sampling.min_p)
    return logits


def repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide positive scores of seen tokens by ``penalty``, multiply negative ones: (V,), ids (T,) -> (V,)."""
    scores = logits[seen]
    return logits.index_put((seen,), torch.where(scores < 0, scores * penalty, scores / penalty))


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k highest (and ties with the last of them)."""
    return logits.masked_fill(logits < logits.topk(k).values[-1], float("-inf"))


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most probable tokens whose probability reaches ``p``; the best one always stays."""
    ascending, order = logits.sort()
    below = ascending.softmax(-1).cumsum(-1)  # mass of a token and all less probable ones
    dropped = below <= 1 - p
    dropped[-1] = False
    return logits.masked_fill(torch.empty_like(dropped).scatter_(0, order, dropped), float("-inf"))


def min_p(logits: Tensor, share: float) -> Tensor:
    """Keep tokens with at least ``share`` of the best one's probability."""
    probabilities = logits.softmax(-1)
    return logits.masked_fill(probabilities < share * probabilities.max(), float("-inf"))


def draw(logits: Tensor, seed: int, position: int) -> int:
    """Draw one id from softmax(logits), (V,), by the noise of (seed, position), in float64 for rare tokens."""
    noise = torch.from_numpy(exponential_noise(logits.numel(), seed, position)).to(logits.device)
    return int((logits.double() - noise.log()).argmax())


def exponential_noise(count: int, seed: int, position: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return (count,) draws from Exp(1), each above zero. Positions are the counter's top word: streams never meet."""
    philox = np.random.Philox(key=seed, counter=position << 192)
    return np.maximum(np.random.Generator(philox).standard_exponential(count), _TINY)


def top_logprobs(logits: Tensor, logsumexp: float, count: int) -> tuple[tuple[int, float], ...]:
    """Return the ``count`` most probable ids under the model itself with their log-probabilities, best first."""
    best = logits.topk(min(count, logits.numel()))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return tuple((token, value - logsumexp) for token, value in pairs)


def finish_of(token: int, length: int, end_ids: Collection[int], limit: int) -> Finish | None:
    """Return the reason that a reply of ``length`` tokens ends with ``token``; None where it goes on."""
    if token in end_ids:
        return "end"
    return "length" if length >= limit else None
