"""Adapters over a real socket: chosen by a request's ``model``, and computed as if merged into the weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from serving import SMALL, Live, add_model

from seedbed.core.artifacts import Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.formats.peft_format import write_additions
from seedbed.models.decoder import Decoder
from seedbed.models.store import load_model, save_model
from seedbed.nn.lora import LowRank
from seedbed.serve.pool import ModelPool
from seedbed.transform.quantize import quantize

RANK, ALPHA = 4, 8.0
ADAPTERS = {"first": "first-adapter", "second": "second-adapter"}


def add_adapter(library: Library, name: str, base: str, seed: int, **sizes: int) -> dict[str, LowRank]:
    """Store an adapter of ``base``, as training does, and the base with the additions in its weights."""
    loaded, generator = load_model(library.get(base, "model")), torch.Generator().manual_seed(seed)
    model, parts = loaded.model, {}
    for path in ("blocks.0.mixer.q", "blocks.1.feedforward.up", "blocks.1.feedforward.down"):
        n, k = model.get_parameter(f"{path}.weight").shape
        down = torch.randn(RANK, sizes.get("k", k), generator=generator)
        parts[path] = LowRank(0.3 * down, 0.3 * torch.randn(n, RANK, generator=generator), ALPHA / RANK)
    parents = [library.get(base, "model")]
    with library.writing("adapter", parents=parents, name=f"{name}-adapter") as draft:
        write_additions(draft.path, parts, RANK, ALPHA)
    if not sizes:
        merged = Decoder(model.config).eval()
        merged.load_state_dict(model.state_dict())
        for path, part in parts.items():
            merged.get_parameter(f"{path}.weight").data += part.scale * part.up @ part.down
        with library.writing("model", name=f"{name}-merged") as draft:
            save_model(draft.path, merged, loaded.tokenizer)
    return parts


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Two models; two adapters of the first, each merged as well; one of the second."""
    library = Library(tmp_path_factory.mktemp("adapters"))
    add_model(library, "tiny", 5)
    add_model(library, "other", 6)
    for seed, name in enumerate(ADAPTERS):
        add_adapter(library, name, "tiny", seed)
    add_adapter(library, "stranger", "other", 9)
    return library


@pytest.fixture(scope="module", params=["kernel", "torch"])
def pair(
    shelf: Library, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[tuple[Live, Live]]:
    """A server of the base with its adapters, and one of all models, on one of the runners."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr("seedbed.inference.runners.making.library", lambda: None)
        one = Live(shelf, tmp_path_factory.mktemp("one"), SMALL, ("tiny",), ADAPTERS)
        plain = Live(shelf, tmp_path_factory.mktemp("plain"), SMALL)
        yield one, plain
        one.close()
        plain.close()


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"prompt": "seeds in a bed", "max_tokens": 40}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "seeds"}], "max_tokens": 40}),
    ("/v1/responses", {"input": "seeds in a bed", "max_output_tokens": 40, "store": False}),
]


def written(reply: dict[str, Any]) -> list[Any]:
    """Only what the model wrote."""
    if "output" in reply:
        return [part["text"] for item in reply["output"] for part in item["content"]]
    return [choice.get("text") or choice["message"]["content"] for choice in reply["choices"]]


@pytest.mark.parametrize(("path", "body"), ASKED)
def test_an_adapter_answers_as_the_merged_model(pair: tuple[Live, Live], path: str, body: dict[str, Any]) -> None:
    one, plain = pair
    base = written(plain.ok(path, model="tiny", temperature=0, **body))
    assert written(one.ok(path, model="tiny", temperature=0, **body)) == base
    for name in ADAPTERS:
        reply = one.ok(path, model=name, temperature=0, **body)
        assert reply["model"] == name
        assert written(reply) == written(plain.ok(path, model=f"{name}-merged", temperature=0, **body))
        assert written(reply) != base


def test_adapters_at_once_do_not_mix(pair: tuple[Live, Live]) -> None:
    """Prompts begin alike, so that a cached prefix of another adapter would show."""
    one, _ = pair
    prompt = "seeds in a bed, and more of them. " * 5

    def ask(name: str) -> str:
        return str(one.ok("/v1/completions", model=name, prompt=prompt, max_tokens=30, temperature=0)["choices"])

    alone = {name: ask(name) for name in ("tiny", *ADAPTERS)}
    assert len(set(alone.values())) == 3
    with ThreadPoolExecutor(9) as pool:
        assert list(pool.map(ask, [*alone] * 6)) == [*alone.values()] * 6
    assert set(one.state.pool.stats()) == {"tiny"}


def test_an_adapter_is_a_model_with_a_parent(pair: tuple[Live, Live], shelf: Library) -> None:
    one, _ = pair
    found = {model["id"]: model for model in one.client.get("/v1/models").json()["data"]}
    assert list(found) == ["tiny", *ADAPTERS]
    assert found["first"]["parent"] == "tiny"
    assert found["first"]["artifact"] == shelf.get("first-adapter").id
    assert "parent" not in found["tiny"]
    assert one.client.get("/v1/models/first").json() == found["first"]
    reply = one.post("/v1/completions", model="first", prompt="x", max_tokens=1)
    other = one.ok("/v1/completions", model="second", prompt="x", max_tokens=1)
    assert f"adapter={shelf.get('first-adapter').id}" in reply.headers["x-seedbed-provenance"]
    assert reply.json()["system_fingerprint"] != other["system_fingerprint"]


def test_what_is_not_served(pair: tuple[Live, Live]) -> None:
    one, _ = pair
    for name in ("third", "first-adapter", "stranger"):
        refused = one.post("/v1/completions", model=name, prompt="x")
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    vectors = one.post("/v1/embeddings", model="first", input="x")
    assert vectors.status_code == 400
    assert "an adapter makes no vectors" in vectors.json()["error"]["message"]


@pytest.mark.parametrize(
    ("names", "adapters", "error", "message"),
    [
        (["tiny"], {"a": "stranger-adapter"}, UsageError, "does not belong to tiny.*trained on other"),
        (["tiny"], {"a": "nowhere"}, NotFoundError, "no adapter called 'nowhere'"),
        (["tiny"], {"a": "other"}, NotFoundError, "is not a adapter"),
        (["tiny"], {"tiny": "first-adapter"}, UsageError, "two models would be called tiny"),
        ([], {"a": "first-adapter"}, UsageError, "needs its base model"),
        (["tiny", "other"], {"a": "first-adapter"}, UsageError, "needs its base model.*2 models"),
        (["tiny"], {"a": "narrow-adapter"}, UsageError, "model of another size"),
    ],
)
def test_an_adapter_that_cannot_serve_is_refused_at_the_start(
    shelf: Library, names: list[str], adapters: dict[str, str], error: type[Exception], message: str
) -> None:
    if "narrow-adapter" in adapters.values():
        add_adapter(shelf, "narrow", "tiny", 3, k=7)
    with pytest.raises(error) as caught:
        ModelPool(shelf, names, SMALL, adapters)
    told = f"{caught.value} {getattr(caught.value, 'why', '')} {getattr(caught.value, 'fix', '')}".replace("\n", " ")
    assert re.search(message, told), told


def test_a_quantized_copy_takes_its_originals_adapters(shelf: Library, tmp_path: Path) -> None:
    loaded = load_model(shelf.get("tiny", "model"))
    quantize(loaded.model, "int8")
    with shelf.writing("model", parents=[shelf.get("tiny", "model")], name="tiny-int8") as draft:
        save_model(draft.path, loaded.model, loaded.tokenizer, "int8")
    live = Live(shelf, tmp_path, SMALL, ("tiny-int8",), ADAPTERS)
    replies = [
        live.ok("/v1/completions", model=name, prompt="seeds", max_tokens=20, temperature=0)["choices"]
        for name in ("tiny-int8", "first")
    ]
    live.close()
    assert replies[0] != replies[1]
