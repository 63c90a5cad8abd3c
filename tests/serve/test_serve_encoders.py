"""A server with an encoder: vectors as the encoder makes them, and clear refusals of everything else."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from serving import SMALL, Live, add_model
from transformers import BertConfig, BertModel, BertTokenizer

from seedbed.core.artifacts import Library
from seedbed.formats.importing import import_model
from seedbed.inference.encoding import Encoder
from seedbed.models.store import load_any
from seedbed.search.embedders import open_embedder

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{one}" for one in LETTERS)]
TEXTS = ["a short text", "", "another one that is longer"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(1)
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertModel(BertConfig(vocab_size=len(PIECES), max_position_embeddings=40, **shape))
    model.embeddings.word_embeddings.weight.data.normal_(0.0, 1.0)
    model.save_pretrained(folder / "bert")
    BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)}).save_pretrained(folder / "bert")
    library = Library(folder / "home")
    import_model(library, folder / "bert", "bert")
    add_model(library, "tiny", 1, 64)
    return library


@pytest.fixture(scope="module")
def live(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    one = Live(library, tmp_path_factory.mktemp("serve"), SMALL)
    yield one
    one.close()


@pytest.fixture(scope="module")
def encoder(library: Library) -> Encoder:
    return Encoder(load_any(library.get("bert")))


def units(encoder: Encoder, texts: list[str]) -> np.ndarray:
    vectors = encoder.encode(texts).vectors
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_vectors_are_the_encoders(live: Live, encoder: Encoder) -> None:
    found = live.ok("/v1/embeddings", model="bert", input=TEXTS)
    np.testing.assert_allclose([one["embedding"] for one in found["data"]], units(encoder, TEXTS), atol=1e-6)
    assert found["usage"]["prompt_tokens"] == sum(encoder.encode(TEXTS).tokens)
    packed = live.ok("/v1/embeddings", model="bert", input=TEXTS[0], encoding_format="base64", dimensions=24)
    numbers = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4")
    np.testing.assert_allclose(numbers, units(encoder, TEXTS[:1])[0], atol=1e-6)


def test_ids_are_taken_as_they_are(live: Live, encoder: Encoder) -> None:
    ids = live.ok("/tokenize", model="bert", prompt=TEXTS[0])["tokens"]
    assert ids == [2, *encoder.tokenizer.encode(TEXTS[0]), 3]
    bare = live.ok("/tokenize", model="bert", prompt=TEXTS[0], add_special_tokens=False)["tokens"]
    assert bare == ids[1:-1]
    found = live.ok("/v1/embeddings", model="bert", input=ids)
    np.testing.assert_allclose(found["data"][0]["embedding"], units(encoder, TEXTS[:1])[0], atol=1e-6)
    assert live.ok("/detokenize", model="bert", tokens=bare)["prompt"] != ""


def test_an_embedder_of_the_server_is_the_encoder(live: Live, encoder: Encoder) -> None:
    remote = open_embedder(f"{live.url}#bert", key=live.key)
    np.testing.assert_allclose(remote.embed_documents(TEXTS), units(encoder, TEXTS), atol=1e-6)


def test_clients_at_once_get_their_own_vectors(live: Live, encoder: Encoder) -> None:
    texts = [" ".join(LETTERS[place : place + 5]) for place in range(20)]
    wanted = units(encoder, texts)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda text: live.ok("/v1/embeddings", model="bert", input=text), texts))
    np.testing.assert_allclose([one["data"][0]["embedding"] for one in answers], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/v1/responses", {"input": "hi"}),
    ],
)
def test_an_encoder_writes_nothing(live: Live, path: str, body: dict[str, object]) -> None:
    answer = live.post(path, **body, model="bert")
    assert answer.status_code == 400
    assert "'bert' is an encoder" in answer.json()["error"]["message"]
    assert "/v1/embeddings" in answer.json()["error"]["message"]


def test_what_it_cannot_read_is_refused(live: Live) -> None:
    long = live.post("/v1/embeddings", model="bert", input="x " * 60)
    assert (long.status_code, long.json()["error"]["code"]) == (400, "context_length_exceeded")
    assert live.post("/v1/embeddings", model="bert", input=[len(PIECES)]).status_code == 400
    assert live.post("/v1/embeddings", model="bert", input="a", dimensions=12).status_code == 400


def test_a_decoder_beside_it_still_does_all(live: Live) -> None:
    assert len(live.ok("/v1/embeddings", model="tiny", input="text")["data"][0]["embedding"]) == 32
    asked = {"prompt": "text", "max_tokens": 2, "ignore_eos": True}  # a random model may end at once
    assert live.ok("/v1/completions", model="tiny", **asked)["usage"]["completion_tokens"] == 2
    assert {one["id"] for one in live.client.get("/v1/models").json()["data"]} == {"bert", "tiny"}
    assert 'model="bert"' not in live.client.get("/metrics").text
