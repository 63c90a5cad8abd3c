"""Models, embeddings, the tokenizer, health and metrics."""

from __future__ import annotations

import base64
import re

import numpy as np
import openai
import pytest
import torch
from serving import WINDOW, Live

from seedbed.models.store import LoadedModel

TEXTS = ["seeds", "naïve 日本 🌱" * 8]


def test_models_are_listed_and_found(live: Live, loaded: LoadedModel) -> None:
    client = openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.key)
    assert {"tiny", "other"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("tiny").model_extra == {"artifact": loaded.artifact.id}
    for name in ("missing", "..%2f..%2fkeys.json", "ti", "%00", loaded.artifact.id):
        response = live.client.get(f"/v1/models/{name}")
        assert response.status_code == 404, name
        assert response.json()["error"]["message"]


@torch.inference_mode()
def embedding(loaded: LoadedModel, ids: list[int]) -> torch.Tensor:
    hidden, _ = loaded.model.hidden(torch.tensor([ids]), None)
    mean = hidden[0].mean(0)
    return mean / mean.norm()


def test_embeddings_are_the_mean_of_the_hidden_states(live: Live, loaded: LoadedModel) -> None:
    ids = [loaded.tokenizer.encode_prompt(text) for text in TEXTS]
    for given in (TEXTS, ids):
        found = live.ok("/v1/embeddings", input=given)
        for one, expected in zip(found["data"], ids, strict=True):
            assert torch.tensor(one["embedding"]).allclose(embedding(loaded, expected), atol=1e-5)
        assert found["usage"] == {"prompt_tokens": sum(map(len, ids)), "total_tokens": sum(map(len, ids))}
    coded = live.ok("/v1/embeddings", input=TEXTS[0], encoding_format="base64")["data"][0]["embedding"]
    plain = live.ok("/v1/embeddings", input=ids[0], dimensions=32)["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(coded), "<f4").tolist() == pytest.approx(plain)
    client = openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.key)
    assert client.embeddings.create(model="tiny", input=TEXTS).data[1].embedding == pytest.approx(
        embedding(loaded, ids[1]).tolist(), abs=1e-5
    )


@pytest.mark.parametrize(
    "broken",
    [
        {"dimensions": 31},
        {"input": []},
        {"input": [[]]},
        {"input": [WINDOW * 9]},
        {"input": "x" * WINDOW},
        {"user": "x" * 513},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_embeddings_that_cannot_be_made_are_refused(live: Live, broken: dict[str, object]) -> None:
    assert live.post("/v1/embeddings", **{"input": "x", **broken}).status_code == 400


def test_tokenize_and_back(live: Live, loaded: LoadedModel) -> None:
    for text in (*TEXTS, "<|end|>"):
        found = live.ok("/tokenize", prompt=text, return_token_strs=True)
        assert found["tokens"] == loaded.tokenizer.encode_prompt(text)
        assert (found["count"], found["max_model_len"]) == (len(found["tokens"]), WINDOW)
        assert len(found["token_strs"]) == found["count"]
        assert live.ok("/detokenize", tokens=found["tokens"])["prompt"] == text
        assert live.ok("/tokenize", prompt=text, add_special_tokens=False)["tokens"] == found["tokens"][1:]
    messages = [{"role": "user", "content": "Hi"}]
    expected, _ = loaded.tokenizer.encode_chat(messages, add_generation_prompt=True)
    assert live.ok("/tokenize", messages=messages)["tokens"] == expected
    for body in ({}, {"prompt": "x", "messages": messages}):
        assert live.post("/tokenize", **body).status_code == 400
    assert live.post("/detokenize", tokens=[10**30]).status_code == 400


def test_health_and_metrics(live: Live) -> None:
    health = live.client.get("/health").json()
    assert (health["status"], health["in_flight"]) == ("ok", 0)
    before = live.client.get("/metrics").text
    used = live.ok("/v1/completions", prompt="x", max_tokens=5, seed=1)["usage"]
    after = live.client.get("/metrics").text

    def value(text: str, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} ([\d.]+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    for name, grown in (
        ("seedbed_prompt_tokens_total", used["prompt_tokens"]),
        ("seedbed_generated_tokens_total", used["completion_tokens"]),
        ('seedbed_requests_total{path="/v1/completions",status="200"}', 1),
        ("seedbed_time_to_first_token_seconds_count", 1),
        ('seedbed_time_to_first_token_seconds_bucket{le="+Inf"}', 1),
    ):
        assert value(after, name) - value(before, name) == grown, name
    assert value(after, 'seedbed_engine_running{model="tiny"}') == 0
    assert all(
        re.fullmatch(r'(# TYPE \w+ \w+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [\d.]+)', line)
        for line in after.splitlines()
    )


def test_the_api_describes_itself(live: Live) -> None:
    described = live.client.get("/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/responses/{identity}/cancel", "/health"} <= described["paths"].keys()


def test_a_key_sees_its_own_metrics_and_an_admin_those_of_all(live: Live) -> None:
    mine, other = live.connect(live.keys.create("metered")), live.connect(live.keys.create("metered2"))
    admin = live.connect(live.keys.create("monitor", admin=True))
    before = live.state.metrics.requests["/v1/completions", 200]
    body = {"model": "tiny", "prompt": "x", "max_tokens": 3, "seed": 1}
    assert [one.post("/v1/completions", json=body).status_code for one in (mine, mine, other)] == [200] * 3
    for client, count in ((mine, 2), (other, 1), (admin, before + 3)):
        told = client.get("/metrics").text
        assert f'seedbed_requests_total{{path="/v1/completions",status="200"}} {count}\n' in told
        assert "seedbed_requests_in_flight 1\n" in told
        assert ("seedbed_engine_running" in told) == (client is admin)
        assert ("seedbed_models_loaded" in told) == (client is admin)
    live.keys.remove("metered")
    live.until(lambda: live.state.metrics.owners <= {"", *live.keys.owners()})
    assert f'"/v1/completions",status="200"}} {before + 3}\n' in admin.get("/metrics").text


def test_keys_of_the_earlier_form_are_read(live: Live) -> None:
    key = live.keys.create("old")
    path = live.keys._path
    path.write_text(re.sub(r',\s+"admin": (true|false)', "", path.read_text()))
    assert '"admin"' not in path.read_text()
    assert live.connect(key).get("/v1/models").status_code == 200
    assert [entry["admin"] for entry in live.keys.entries() if entry["name"] == "old"] == [False]
