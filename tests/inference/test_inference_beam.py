"""Beam search against Hugging Face's with the same weights, and against looking at every continuation."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from engine_clients import client_of
from transformers import LlamaConfig, LlamaForCausalLM

from seedbed.inference.parameters import Sampling
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder

MakeDecoder = Callable[..., Decoder]
RENAMED = [
    ("model.embed_tokens", "embedding"),
    ("model.norm", "norm"),
    ("lm_head", "output"),
    ("model.layers", "blocks"),
    ("self_attn.o_proj", "mixer.out"),
    ("self_attn.", "mixer."),
    ("post_attention_layernorm", "feedforward_norm"),
    ("input_layernorm", "mixer_norm"),
    ("mlp.", "feedforward."),
    ("_proj", ""),
]


def total_logprob(model: Decoder, prompt: list[int], reply: tuple[int, ...]) -> float:
    with torch.no_grad():
        logprobs = model(torch.tensor([[*prompt, *reply]]))[0][0].log_softmax(-1)
    return sum(float(logprobs[len(prompt) - 1 + place, token]) for place, token in enumerate(reply))


@pytest.fixture(scope="module")
def twins() -> tuple[LlamaForCausalLM, Decoder]:
    """The same random LLaMA twice."""
    torch.manual_seed(4)
    shape = {"vocab_size": 60, "num_hidden_layers": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6}
    width = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
    theirs = LlamaForCausalLM(LlamaConfig(**shape, **width, tie_word_embeddings=False)).eval()
    for parameter in theirs.parameters():
        parameter.data.normal_(0.0, 0.2)
    ours = Decoder(
        ModelConfig(60, d_model=32, d_ff=48, n_layers=2, n_heads=4, n_kv_heads=2, max_length=64, tied=False)
    ).eval()
    weights = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in RENAMED:
            name = name.replace(old, new)
        weights[name] = tensor
    ours.load_state_dict(weights)
    return theirs, ours


@pytest.mark.parametrize("beams", [2, 3, 5])
@pytest.mark.parametrize("length_penalty", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("ends", [[7], list(range(0, 60, 5)), []])
def test_beams_are_those_of_transformers(
    twins: tuple[LlamaForCausalLM, Decoder], beams: int, length_penalty: float, ends: list[int]
) -> None:
    theirs, ours = twins
    lengths = set()
    for seed in range(6):
        prompt = torch.randint(12, 60, (1, 4), generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            expected = theirs.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                num_beams=beams,
                do_sample=False,
                max_new_tokens=20,
                eos_token_id=ends or None,
                pad_token_id=0,
                length_penalty=length_penalty,
            )[0, 4:].tolist()
        sampling = Sampling(temperature=0, beams=beams, max_tokens=20, length_penalty=length_penalty)
        tokens = list(client_of(ours, ends).stream(prompt[0].tolist(), sampling))
        assert [token.id for token in tokens] == expected
        lengths.add(len(expected))
        reply = tuple(token.id for token in tokens)
        assert sum(token.logprob for token in tokens) == pytest.approx(
            total_logprob(ours, prompt[0].tolist(), reply), abs=1e-3
        )
        assert tokens[-1].finish == ("end" if reply[-1] in ends else "length")
    assert len(ends) < 2 or min(lengths) < 20  # with many end tokens some replies end early


@pytest.mark.parametrize("kind", [{}, {"mixers": ("lstm", "attention")}, {"mixers": ("gru",), "position": "none"}])
def test_enough_beams_find_the_best_of_all_continuations(make_decoder: MakeDecoder, kind: dict) -> None:
    model = make_decoder(vocab_size=4, **kind)
    prompt, length = [1, 2, 0], 3
    every = list(itertools.product(range(4), repeat=length))
    best = max(every, key=lambda reply: total_logprob(model, prompt, reply))
    tokens = list(client_of(model).stream(prompt, Sampling(temperature=0, beams=64, max_tokens=length)))
    assert tuple(token.id for token in tokens) == best


def test_one_beam_more_than_greedy_never_scores_worse(make_decoder: MakeDecoder) -> None:
    model = make_decoder()
    totals = []
    for beams in (1, 8):
        tokens = client_of(model).stream([4, 9], Sampling(temperature=0, beams=beams, max_tokens=10))
        totals.append(sum(token.logprob for token in tokens))
    assert totals[1] > totals[0]
