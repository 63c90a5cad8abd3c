"""Cached decoding is the full forward, a step at a time; requests end where and as they should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from engine_clients import client_of

from seedbed.core.errors import CapacityError, UsageError
from seedbed.inference.beam import prefill, step
from seedbed.inference.parameters import Sampling
from seedbed.inference.runner import BLOCK
from seedbed.models.decoder import Decoder

MakeDecoder = Callable[..., Decoder]
PROMPT = [3, 41, 7, 7, 20]
GREEDY = Sampling(temperature=0, max_tokens=12)
KINDS: list[dict[str, Any]] = [
    {},
    {"position": "learned", "norm": "layer", "mlp": "plain", "activation": "gelu"},
    {"mixers": ("sliding", "attention"), "window": 5},
    {"mixers": ("lstm",), "position": "none"},
    {"mixers": ("gru", "attention")},
]


def random_ids(count: int, vocabulary: int = 50) -> list[int]:
    return torch.randint(vocabulary, (count,), generator=torch.Generator().manual_seed(count)).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_cached_decoding_equals_the_full_forward_at_every_position(make_decoder: MakeDecoder, kind: dict) -> None:
    model = make_decoder(**kind)
    ids = random_ids(100)  # the prompt ends within the grid's second cell
    with torch.no_grad():
        full, _ = model(torch.tensor([ids]))
    logits, states = prefill(model, ids[:70], model.new_state(1, 100))
    for position in range(69, 99):
        torch.testing.assert_close(logits[0], full[0, position], atol=1e-5, rtol=1e-5)
        logits, states = step(model, [ids[position + 1]], states)
    torch.testing.assert_close(logits[0], full[0, 99], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
def test_prefill_on_the_grid_equals_prefill_at_once(make_decoder: MakeDecoder, kind: dict, length: int) -> None:
    model = make_decoder(**kind)
    ids = random_ids(length)
    with torch.no_grad():
        at_once, _ = model(torch.tensor([ids]))
    logits, _ = prefill(model, ids, model.new_state(1, length))
    torch.testing.assert_close(logits, at_once[:, -1], atol=1e-5, rtol=1e-5)


def test_greedy_is_the_argmax_of_the_full_forward(make_decoder: MakeDecoder) -> None:
    model = make_decoder()
    ids, logprobs = list(PROMPT), []
    for _ in range(12):
        with torch.no_grad():
            row = model(torch.tensor([ids]))[0][0, -1].log_softmax(-1)
        ids.append(int(row.argmax()))
        logprobs.append(float(row.max()))
    tokens = list(client_of(model).stream(PROMPT, GREEDY))
    assert [token.id for token in tokens] == ids[len(PROMPT) :]
    assert [token.logprob for token in tokens] == pytest.approx(logprobs, abs=1e-5)
    assert [token.finish for token in tokens] == [None] * 11 + ["length"]


def test_an_end_token_ends_the_reply(make_decoder: MakeDecoder) -> None:
    model = make_decoder()
    plain = [token.id for token in client_of(model).stream(PROMPT, GREEDY)]
    end = plain[4]
    tokens = list(client_of(model, [end]).stream(PROMPT, GREEDY))
    assert [token.id for token in tokens] == plain[: plain.index(end) + 1]
    assert tokens[-1].finish == "end"


def test_the_same_seed_gives_the_same_tokens_whatever_else_runs(make_decoder: MakeDecoder) -> None:
    generator = client_of(make_decoder())
    sampling = Sampling(temperature=1.5, max_tokens=30, seed=8)
    alone = list(generator.stream(PROMPT, sampling))
    one, other = generator.stream(PROMPT, sampling), generator.stream([1, 2], Sampling(max_tokens=30, seed=9))
    torch.manual_seed(123)
    assert [first for first, _ in zip(one, other, strict=True)] == alone
    assert list(generator.stream(PROMPT, Sampling(temperature=1.5, max_tokens=30, seed=10))) != alone


def test_a_longer_request_begins_as_a_shorter_one(make_decoder: MakeDecoder) -> None:
    generator = client_of(make_decoder())
    long = [token.id for token in generator.stream(PROMPT, Sampling(seed=2, max_tokens=20))]
    short = [token.id for token in generator.stream(PROMPT, Sampling(seed=2, max_tokens=5))]
    resumed = [token.id for token in generator.stream([*PROMPT, *short], Sampling(seed=2, max_tokens=15))]
    assert short + resumed == long


def test_without_a_seed_replies_differ(make_decoder: MakeDecoder) -> None:
    generator = client_of(make_decoder())
    sampling = Sampling(temperature=2, max_tokens=40)
    assert list(generator.stream(PROMPT, sampling)) != list(generator.stream(PROMPT, sampling))


@pytest.mark.parametrize("beams", [1, 3])
def test_a_full_window_ends_the_reply(make_decoder: MakeDecoder, beams: int) -> None:
    generator = client_of(make_decoder(max_length=16))
    for length in (15, 16):
        sampling = Sampling(temperature=0, max_tokens=50, beams=beams)
        tokens = list(generator.stream(random_ids(length), sampling))
        assert len(tokens) == 17 - length
        assert tokens[-1].finish == "length"


def test_a_prompt_beyond_the_window_says_both_counts(make_decoder: MakeDecoder) -> None:
    with pytest.raises(CapacityError, match=r"the prompt has 17 tokens, 16 are allowed") as caught:
        client_of(make_decoder(max_length=16)).stream(random_ids(17), GREEDY)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("wrong", [50, 4000, -1])
def test_ids_of_another_tokenizer_are_refused(make_decoder: MakeDecoder, wrong: int) -> None:
    with pytest.raises(UsageError, match=f"token id {wrong} is not in the model's vocabulary"):
        client_of(make_decoder()).stream([1, wrong], GREEDY)


def test_an_empty_prompt_is_refused(make_decoder: MakeDecoder) -> None:
    with pytest.raises(UsageError, match="empty"):
        client_of(make_decoder()).stream([], GREEDY)
