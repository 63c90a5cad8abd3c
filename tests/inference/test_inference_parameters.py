"""Every parameter is checked where a request enters."""

from __future__ import annotations

import pytest

from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Grammar, Sampling


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tokens", 0),
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", -1),
        ("top_p", 1.01),
        ("min_p", -0.5),
        ("repetition_penalty", 0.0),
        ("frequency_penalty", 2.5),
        ("presence_penalty", -3),
        ("seed", -1),
        ("seed", 2**63),
        ("beams", 0),
        ("length_penalty", float("nan")),
        ("top_logprobs", 21),
        ("top_logprobs", -1),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(UsageError) as caught:
        Sampling(**{name: value})
    assert str(caught.value).startswith(f"error: {name} = {value} is out of range\nwhy: ")
    assert "\nfix: give at" in str(caught.value)


def test_an_empty_stop_text_is_refused() -> None:
    with pytest.raises(UsageError, match="empty"):
        Sampling(stop=("\n", ""))


@pytest.mark.parametrize(
    "setting",
    [
        {},
        {"temperature": 0, "top_k": 5},
        {"temperature": 0, "presence_penalty": 1},
        {"temperature": 0, "logit_bias": ((1, 1.0),)},
        {"temperature": 0, "grammar": Grammar("regex", "a")},
        {"temperature": 0, "top_logprobs": 1},
    ],
)
def test_beams_refuse_what_they_would_ignore(setting: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="beams = 2 cannot be combined"):
        Sampling(beams=2, **setting)


def test_a_seed_is_chosen_once_and_kept() -> None:
    assert Sampling(seed=0).seeded().seed == 0
    chosen = Sampling().seeded()
    assert chosen.seed is not None
    assert chosen.seeded() == chosen
    assert Sampling().seeded() != chosen


@pytest.mark.parametrize("value", [100.5, -101, float("nan"), float("inf")])
def test_a_bias_out_of_range_names_its_token(value: float) -> None:
    with pytest.raises(UsageError, match=r"logit_bias of token 7 = .* is out of range"):
        Sampling(logit_bias=((1, 100), (7, value)))


def test_too_many_biases_are_refused() -> None:
    assert Sampling(logit_bias=tuple((token, 0.0) for token in range(300)))
    with pytest.raises(UsageError, match="too many"):
        Sampling(logit_bias=tuple((token, 0.0) for token in range(301)))


def test_a_grammar_has_a_size_and_needs_the_end_token() -> None:
    with pytest.raises(UsageError, match="too long"):
        Grammar("lark", "x" * 65_537)
    with pytest.raises(UsageError, match="end token"):
        Sampling(grammar=Grammar("regex", "a"), ignore_end=True)
