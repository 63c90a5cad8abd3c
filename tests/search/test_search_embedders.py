"""Models as embedders: a decoder against a plain forward of it, a server against the decoder it serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from embedding_server import Answering
from serving import SMALL, Live, add_model

from seedbed.chat.failures import RemoteError
from seedbed.core.artifacts import Library
from seedbed.core.errors import NotFoundError, SeedbedError, UsageError
from seedbed.models.store import load_model
from seedbed.search.embedders import LocalEmbedder, RemoteEmbedder, open_embedder

WIDTH, WINDOW = 32, 64
TEXTS = ["a short text", "another, a little longer than the first", "größer 🌱"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    torch.set_num_threads(1)
    library = Library(tmp_path_factory.mktemp("library"))
    add_model(library, "tiny", 5, WINDOW)
    add_model(library, "other", 6, WINDOW)
    return library


@pytest.fixture(scope="module")
def local(library: Library) -> LocalEmbedder:
    found = open_embedder("tiny", library)
    assert isinstance(found, LocalEmbedder)
    return found


@pytest.fixture(scope="module")
def live(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    one = Live(library, tmp_path_factory.mktemp("serve"), SMALL, ("tiny",))
    yield one
    one.close()


def means(library: Library, text: str) -> Any:
    """The mean of the last hidden states over all windows of a text, from plain forwards."""
    loaded = load_model(library.get("tiny", "model"))
    ids = [loaded.tokenizer.bos_id, *loaded.tokenizer.encode(text)]
    parts = [torch.tensor([ids[at : at + WINDOW]]) for at in range(0, len(ids), WINDOW)]
    with torch.inference_mode():
        states = torch.cat([loaded.model.hidden(part)[0][0] for part in parts])
    mean = states.mean(0).numpy()
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("text", [*TEXTS, "long " * 50, "x" * WINDOW * 3, ""], ids=len)
def test_a_decoder_embeds_the_mean_of_its_states(local: LocalEmbedder, library: Library, text: str) -> None:
    found = local.embed_query(text)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, means(library, text), atol=1e-4)


def test_documents_and_queries_are_alike(local: LocalEmbedder) -> None:
    assert local.size == WIDTH
    made = local.embed_documents(TEXTS)
    assert made.shape == (3, WIDTH)
    assert np.linalg.norm(made, axis=1) == pytest.approx([1, 1, 1])
    for text, vector in zip(TEXTS, made, strict=True):
        np.testing.assert_allclose(local.embed_query(text), vector, atol=1e-5)
    assert local.embed_documents([]).shape == (0, WIDTH)


def test_the_name_is_the_model_not_what_it_is_called(library: Library, local: LocalEmbedder) -> None:
    identity = library.get("tiny", "model").id
    assert local.name == f"model-{identity[:16]}"
    assert open_embedder(identity[:12], library).name == local.name
    assert open_embedder("other", library).name != local.name
    assert local.count_tokens("abc") == 3


def test_a_server_gives_what_its_model_does(live: Live, local: LocalEmbedder) -> None:
    remote = open_embedder(f"{live.url}#tiny", key=live.key)
    assert remote.name == f"{live.url}/v1#tiny"
    assert remote.size == WIDTH
    np.testing.assert_allclose(remote.embed_documents(TEXTS), local.embed_documents(TEXTS), atol=1e-5)
    np.testing.assert_allclose(remote.embed_query(TEXTS[0]), local.embed_query(TEXTS[0]), atol=1e-5)
    assert remote.embed_documents([]).shape == (0, WIDTH)


def test_the_key_may_come_from_the_environment(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_KEY", live.key)
    assert open_embedder(live.url).size == WIDTH
    with pytest.raises(SeedbedError):
        _ = open_embedder(live.url, key="wrong").size


def test_a_text_that_the_server_refuses_is_an_error(live: Live) -> None:
    remote = open_embedder(f"{live.url}#tiny", key=live.key)
    with pytest.raises(SeedbedError):
        remote.embed_documents(["x" * 10 * WINDOW])


def test_many_texts_go_in_several_requests_and_keep_their_order() -> None:
    def answer(body: Any) -> Any:
        rows = [{"index": place, "embedding": [float(text), 1.0]} for place, text in enumerate(body["input"])]
        return {"data": rows[::-1]}

    server = Answering(answer)
    made = RemoteEmbedder(server.url, "m").embed_documents([str(place) for place in range(150)])
    server.close()
    assert made[:, 0] / made[:, 1] == pytest.approx(np.arange(150), rel=1e-5)
    assert [len(body["input"]) for body in server.asked] == [64, 64, 22]
    assert {body["model"] for body in server.asked} == {"m"}


@pytest.mark.parametrize(
    "answer",
    [{}, [], {"data": []}, {"data": [{"index": 0}]}, {"data": [{"index": 0, "embedding": ["x"]}]},
     {"data": [{"index": 0, "embedding": [float("inf")]}]}, {"data": [{"index": 0, "embedding": 1}]}],
    ids=str,
)  # fmt: skip
def test_a_strange_answer_is_an_error(answer: Any) -> None:
    server = Answering(lambda body: answer)
    with pytest.raises(RemoteError, match="does not answer with vectors") as caught:
        RemoteEmbedder(server.url, "m").embed_query("x")
    server.close()
    assert server.url in caught.value.why


def test_what_is_not_there_is_said(library: Library) -> None:
    with pytest.raises(NotFoundError):
        open_embedder("absent", library)
    with pytest.raises(UsageError):
        open_embedder("ftp://127.0.0.1/x", library)
