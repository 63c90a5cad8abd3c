"""Completions: echo and log-probabilities as evaluation harnesses need them, several prompts, several replies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from openai.types import Completion
from serving import Live

from seedbed.models.store import LoadedModel

PATH = "/v1/completions"
TEXT = "naïve 日本 seeds"
HOT = {"prompt": TEXT, "temperature": 1.5, "seed": 3, "max_tokens": 30}
Logprobs = Callable[[list[int]], torch.Tensor]


def test_echoed_logprobs_are_those_of_a_plain_forward(live: Live, loaded: LoadedModel, logprobs: Logprobs) -> None:
    """As lm-eval asks: greedy, one token, echo, the best alternative; 200 tokens span several blocks."""
    text = TEXT * 10
    ids = loaded.tokenizer.encode_prompt(text)
    for prompt in (text, ids):
        [choice] = live.ok(PATH, prompt=prompt, max_tokens=1, echo=True, logprobs=1, temperature=0)["choices"]
        table = choice["logprobs"]
        rows = logprobs(ids)
        assert table["token_logprobs"][0] is None
        assert table["top_logprobs"][0] is None
        expected = [*rows[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist(), rows[-1].max().item()]
        assert table["token_logprobs"][1:] == pytest.approx(expected, abs=1e-4)
        best = [max(top.values()) for top in table["top_logprobs"][1:]]
        assert best == pytest.approx(rows.max(-1).values.tolist(), abs=1e-4)
        assert table["tokens"] == loaded.tokenizer.pieces([*ids, int(rows[-1].argmax())])
        assert choice["text"].startswith(text)


def test_offsets_say_where_tokens_begin(live: Live) -> None:
    [choice] = live.ok(PATH, prompt="seeds in a bed", max_tokens=1, echo=True, logprobs=0)["choices"]
    table = choice["logprobs"]
    for token, offset in zip(table["tokens"][1:-1], table["text_offset"][1:-1], strict=True):
        assert choice["text"][offset : offset + len(token)] == token
    assert [list(top) for top in table["top_logprobs"][1:]] == [[token] for token in table["tokens"][1:]]


def test_offsets_count_characters_not_tokens(live: Live) -> None:
    """Two characters of three bytes each are six tokens; the text grows when a character is whole."""
    [choice] = live.ok(PATH, prompt="日本a", max_tokens=0, echo=True, logprobs=0)["choices"]
    assert choice["logprobs"]["text_offset"] == [0, 0, 0, 0, 1, 1, 1, 2]


def test_a_prompt_can_be_scored_without_a_reply(live: Live) -> None:
    found = live.ok(PATH, prompt=TEXT, max_tokens=0, echo=True, logprobs=1)
    [choice] = found["choices"]
    assert choice["text"] == TEXT
    assert len(choice["logprobs"]["tokens"]) == found["usage"]["prompt_tokens"]
    assert found["usage"]["completion_tokens"] == 0


def test_every_prompt_gets_its_replies(live: Live, loaded: LoadedModel) -> None:
    texts = ["one", "two and more", "three"]
    many = live.ok(PATH, **{**HOT, "prompt": texts}, n=2)
    Completion.model_validate(many)
    assert [choice["index"] for choice in many["choices"]] == list(range(6))
    for place, text in enumerate(texts):
        for index in range(2):
            [alone] = live.ok(PATH, **{**HOT, "prompt": text, "seed": 3 + index})["choices"]
            assert many["choices"][2 * place + index]["text"] == alone["text"]
    ids = [loaded.tokenizer.encode_prompt(text) for text in texts]
    by_ids = live.ok(PATH, **{**HOT, "prompt": ids}, n=2)
    assert [one["text"] for one in by_ids["choices"]] == [one["text"] for one in many["choices"]]
    assert many["usage"]["prompt_tokens"] == sum(map(len, ids))


@pytest.mark.parametrize("extra", [{}, {"echo": True, "logprobs": 2}, {"stop": "e"}, {"n": 2, "logprobs": 0}])
def test_streamed_is_unstreamed(live: Live, extra: dict[str, Any]) -> None:
    whole = live.ok(PATH, **HOT, **extra)
    body = {"model": "tiny", **HOT, **extra, "stream": True, "stream_options": {"include_usage": True}}
    with live.client.stream("POST", PATH, json=body) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    parts = [json.loads(line) for line in lines[:-1]]
    for choice in whole["choices"]:
        mine = [one for part in parts for one in part["choices"] if one["index"] == choice["index"]]
        assert "".join(one["text"] for one in mine) == choice["text"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        for name, values in (choice["logprobs"] or {}).items():
            assert [value for one in mine if one["logprobs"] for value in one["logprobs"][name]] == values
    assert parts[-1]["usage"] == whole["usage"]


@pytest.mark.parametrize(
    "broken",
    [
        {"prompt": ""},
        {"prompt": []},
        {"prompt": [[]]},
        {"prompt": [-1]},
        {"prompt": [10**40]},
        {"prompt": [99999]},
        {"prompt": ["x"] * 129},
        {"prompt": None},
        {"prompt": [1.5]},
        {"suffix": "x"},
        {"best_of": 2},
        {"best_of": True},
        {"max_tokens": 0},
        {"logprobs": 21},
        {"echo": "yes"},
        {"messages": []},
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_refused(live: Live, broken: dict[str, Any]) -> None:
    response = live.post(PATH, **{"prompt": "x", "max_tokens": 1, **broken})
    if broken == {"prompt": ""}:  # the beginning-of-text token alone is a prompt
        assert response.status_code == 200
    else:
        assert response.status_code == 400, response.text
        assert response.json()["error"]["type"] == "invalid_request_error"
