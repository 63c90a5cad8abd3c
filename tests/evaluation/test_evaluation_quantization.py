"""The cost of quantization against the measure of bits per byte, and against PyTorch's own divergence."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from seedbed.corpus.pack import TokenSplit
from seedbed.evaluation import bits_per_byte, quantization
from seedbed.evaluation.bits_per_byte import measure
from seedbed.evaluation.quantization import compare
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder

torch.set_num_threads(1)
VOCAB, CONTEXT, SIZES = 23, 16, [2, 17, 3, 18, 40]


@pytest.fixture
def split() -> TokenSplit:
    generator = np.random.default_rng(0)
    tokens = generator.integers(0, VOCAB, size=sum(SIZES)).astype(np.uint16)
    return TokenSplit((tokens,), np.cumsum([0, *SIZES[:-1]]), generator.integers(1, 200, size=len(SIZES)))


@pytest.fixture
def models() -> tuple[Decoder, Decoder]:
    base = Decoder(ModelConfig(VOCAB, d_model=16, n_layers=2, n_heads=2, max_length=CONTEXT, tied=False)).eval()
    generator = torch.Generator().manual_seed(1)
    for parameter in base.parameters():
        parameter.data.normal_(0, 0.4, generator=generator)
    other = copy.deepcopy(base)
    other.output.weight.data += 0.3 * torch.randn(VOCAB, 16, generator=generator)
    return base, other


def test_bits_per_byte_are_those_of_the_measure(split: TokenSplit, models: tuple[Decoder, Decoder]) -> None:
    base, other = models
    found = compare(base, other, split)
    assert found.tokens == sum(SIZES) - len(SIZES)
    assert math.isclose(found.float_bits_per_byte, measure(base, split, context=CONTEXT).value, rel_tol=1e-6)
    assert math.isclose(found.bits_per_byte, measure(other, split, context=CONTEXT).value, rel_tol=1e-6)
    assert found.bits_per_byte != found.float_bits_per_byte


def test_divergence_and_agreement_are_pytorchs(
    split: TokenSplit, models: tuple[Decoder, Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On documents that fit in one window, from whole forward passes."""
    monkeypatch.setattr(quantization, "LOGITS", 5 * VOCAB)  # several pieces
    monkeypatch.setattr(bits_per_byte, "BATCH_TOKENS", 20)
    found = compare(*models, split, tokens=1 + 16 + 2)
    divergences, same = [], []
    for document in range(3):
        start = int(split.starts[document])
        ids = torch.tensor(split.read(start, start + SIZES[document] - 1).astype(int))[None]
        with torch.no_grad():
            p, q = (Categorical(logits=model(ids)[0][0].double()) for model in models)
        divergences += kl_divergence(p, q).tolist()
        same += (p.logits.argmax(-1) == q.logits.argmax(-1)).tolist()
    assert found.tokens == len(divergences)
    assert math.isclose(found.divergence, np.mean(divergences), rel_tol=1e-5)
    assert math.isclose(found.agreement, np.mean(same))
    assert 0 < found.agreement < 1


def test_a_model_does_not_differ_from_itself(split: TokenSplit, models: tuple[Decoder, Decoder]) -> None:
    found = compare(models[0], models[0], split)
    assert (found.agreement, found.divergence) == (1.0, 0.0)
