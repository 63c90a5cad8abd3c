"""The sampler against Hugging Face's logits processors, closed forms and the distribution itself."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from seedbed.inference import sampler
from seedbed.inference.parameters import Sampling

VOCABULARY = 200


@pytest.fixture
def rows() -> torch.Tensor:
    return torch.randn(20, VOCABULARY, generator=torch.Generator().manual_seed(3)) * 3


@pytest.mark.parametrize(
    ("sampling", "oracle"),
    [
        (Sampling(temperature=0.7), [TemperatureLogitsWarper(0.7)]),
        (Sampling(temperature=1, top_k=7), [TopKLogitsWarper(7)]),
        (Sampling(temperature=1, top_p=0.8), [TopPLogitsWarper(0.8)]),
        (Sampling(temperature=1, top_p=0.0), [TopPLogitsWarper(1e-9)]),
        (Sampling(temperature=1, min_p=0.05), [MinPLogitsWarper(0.05)]),
        (
            Sampling(temperature=1.7, top_k=50, top_p=0.9, min_p=0.02),
            [TemperatureLogitsWarper(1.7), TopKLogitsWarper(50), TopPLogitsWarper(0.9), MinPLogitsWarper(0.02)],
        ),
    ],
)
def test_filters_are_those_of_transformers(rows: torch.Tensor, sampling: Sampling, oracle: list) -> None:
    expected = LogitsProcessorList(oracle)(torch.zeros(len(rows), 1, dtype=torch.long), rows)
    got = torch.stack([sampler.restrict(row, sampling) for row in rows])
    torch.testing.assert_close(got, expected)


def test_the_repetition_penalty_is_that_of_transformers(rows: torch.Tensor) -> None:
    prompt, reply = [5, 9, 9, 0], [17, 5]
    oracle = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([prompt + reply] * len(rows)), rows.clone())
    got = torch.stack([sampler.penalize(row, prompt, reply, Sampling(repetition_penalty=1.3)) for row in rows])
    torch.testing.assert_close(got, oracle)


def test_frequency_and_presence_count_the_reply_alone(rows: torch.Tensor) -> None:
    sampling = Sampling(frequency_penalty=0.5, presence_penalty=-0.25)
    got = sampler.penalize(rows[0], [1, 2, 3], [3, 3, 3, 8], sampling)
    expected = rows[0].clone()
    expected[3] -= 3 * 0.5 - 0.25
    expected[8] -= 0.5 - 0.25
    torch.testing.assert_close(got, expected)


def test_the_input_stays_as_it_was(rows: torch.Tensor) -> None:
    before = rows[0].clone()
    everything = Sampling(
        temperature=0.5, top_k=9, top_p=0.5, min_p=0.1, repetition_penalty=2, frequency_penalty=1, seed=1
    )
    sampler.choose(rows[0], [1, 2], [3], everything)
    assert torch.equal(rows[0], before)


def test_draws_follow_the_softmax() -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0, float("-inf")])
    draws = 20_000
    counts = Counter(sampler.draw(logits, seed=11, position=position) for position in range(draws))
    expected = logits.softmax(-1)[:-1].double() * draws
    assert counts[5] == 0
    assert chisquare([counts[token] for token in range(5)], expected / expected.sum() * draws).pvalue > 1e-3


def test_draws_follow_the_softmax_over_seeds_too() -> None:
    logits = torch.tensor([0.5, 0.0, -0.5, -1.0])
    counts = Counter(sampler.draw(logits, seed=seed, position=7) for seed in range(20_000))
    expected = logits.softmax(-1).double() * 20_000
    assert chisquare([counts[token] for token in range(4)], expected / expected.sum() * 20_000).pvalue > 1e-3


def test_noise_depends_on_seed_and_position_alone() -> None:
    first = sampler.exponential_noise(50, seed=4, position=9)
    sampler.exponential_noise(1000, seed=4, position=8)
    assert (sampler.exponential_noise(50, seed=4, position=9) == first).all()
    assert not (sampler.exponential_noise(50, seed=4, position=10) == first).any()
    assert not (sampler.exponential_noise(50, seed=5, position=9) == first).any()


def test_greedy_takes_the_best_after_penalties() -> None:
    logits = torch.tensor([1.0, 3.0, 2.9])
    assert sampler.choose(logits, [0], [], Sampling(temperature=0)) == 1
    assert sampler.choose(logits, [0], [1], Sampling(temperature=0, presence_penalty=0.5)) == 2


def test_top_logprobs_are_the_models_own_best_first() -> None:
    logits = torch.tensor([0.0, math.log(3.0), -50.0])
    (best, first), (second, after) = sampler.top_logprobs(logits, float(logits.logsumexp(-1)), 2)
    assert (best, second) == (1, 0)
    assert [first, after] == pytest.approx([math.log(0.75), math.log(0.25)])
    assert len(sampler.top_logprobs(logits, 0.0, 20)) == 3


def test_biases_are_those_of_transformers(rows: torch.Tensor) -> None:
    oracle = SequenceBiasLogitsProcessor({(3,): 5.0, (150,): -100.0})(torch.zeros(len(rows), 1, dtype=torch.long), rows)
    got = torch.stack([sampler.bias(row, ((3, 5.0), (150, -100.0))) for row in rows])
    torch.testing.assert_close(got, oracle)


@pytest.mark.parametrize("temperature", [0, 5])
def test_only_what_the_mask_allows_is_chosen(rows: torch.Tensor, temperature: float) -> None:
    """A mask shorter than the row allows nothing beyond its end; a longer one is padding."""
    allowed = np.zeros(VOCABULARY + 8, np.bool_)
    allowed[[4, 17, VOCABULARY + 3]] = True
    chosen = set()
    for seed, row in enumerate(rows):
        sampling = Sampling(temperature=temperature, seed=seed, logit_bias=((9, 100.0),))
        chosen.add(sampler.choose(row, [9], [], sampling, allowed))
        assert sampler.choose(row, [9], [], sampling, allowed[:10]) == 4
    assert chosen == {4, 17}
