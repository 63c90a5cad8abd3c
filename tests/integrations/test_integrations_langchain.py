"""LangChain's own standard tests on our chat model, embeddings and vector store, and a tutorial's ten lines.

Most chat tests run on a model of random weights: grammars make it write what it must. Those that ask what only a model
that reads can answer run on one that was taught these answers by heart.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import save_model
from seedbed.search.embedders import LocalEmbedder
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

pytest.importorskip(
    "langchain_tests", reason="LangChain's standard tests are not installed: pip install langchain-tests"
)
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import BaseChatModel
from langchain_core.vectorstores import VectorStore
from langchain_lessons import NEED_TO_READ, learn_by_heart
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    EmbeddingsIntegrationTests,
    VectorStoreIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests

from seedbed.integrations.langchain import SeedbedChat, SeedbedEmbeddings, SeedbedVectorStore


def build(scale: float, window: int, width: int) -> tuple[Tokenizer, Decoder]:
    """A byte-level decoder with normal weights: nearly uniform at a scale of 0.02."""
    tokenizer = train_tokenizer(["any text"], TokenizerSettings(kind="byte"))
    shape = {"d_model": width, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "max_length": window}
    model = Decoder(ModelConfig(vocab_size=tokenizer.vocab_size, **shape))
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        parameter.data.normal_(0.0, scale, generator=generator)
    return tokenizer, model


def stored(library: Library, name: str, tokenizer: Tokenizer, model: Decoder) -> LocalModel:
    with library.writing("model", name=name) as draft:
        save_model(draft.path, model.eval(), tokenizer)
    return LocalModel.open(name, library)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    torch.set_num_threads(1)
    return Library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="module")
def plain(library: Library) -> LocalModel:
    """A model whose replies end soon."""
    return stored(library, "plain", *build(0.02, 8192, 32))


@pytest.fixture(scope="module")
def taught(library: Library) -> LocalModel:
    """One that knows the lessons by heart: trained until every token of every answer is the best."""
    tokenizer, model = build(0.05, 2048, 96)
    learn_by_heart(tokenizer, model)
    return stored(library, "taught", tokenizer, model)


class TestChatUnit(ChatModelUnitTests):
    """Skips: creation from environment variables and serialization, as the model is an object that is given."""

    @pytest.fixture(autouse=True)
    def _choose(self, plain: LocalModel) -> None:
        self.chosen = plain

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return SeedbedChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": self.chosen}

    @property
    def supports_model_override(self) -> bool:
        return False


@pytest.mark.slow
class TestChat(ChatModelIntegrationTests):
    """Skips: images, sounds, PDFs and Anthropic's form of messages (our models read text), another model at a call
    (one object is one model), and recorded network traffic (there is none)."""

    @pytest.fixture(autouse=True)
    def _choose(self, request: pytest.FixtureRequest) -> None:
        reads = request.node.originalname in NEED_TO_READ
        self.chosen = request.getfixturevalue("taught" if reads else "plain")

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return SeedbedChat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        temperature = 0.0 if self.chosen.name == "taught" else 1.0  # random weights would write one letter for ever
        return {"model": self.chosen, "temperature": temperature, "max_tokens": 2000, "options": {"seed": 3}}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return False


class OurEmbeddings:
    @pytest.fixture(autouse=True)
    def _choose(self, plain: LocalModel) -> None:
        self.embedder = LocalEmbedder(plain)

    @property
    def embeddings_class(self) -> type[SeedbedEmbeddings]:
        return SeedbedEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": self.embedder}


class TestEmbeddingsUnit(OurEmbeddings, EmbeddingsUnitTests):
    """Skips: creation from environment variables, as the embedder is an object that is given."""


class TestEmbeddings(OurEmbeddings, EmbeddingsIntegrationTests):
    """No skips."""


class TestStore(VectorStoreIntegrationTests):
    """No skips."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:  # type: ignore[override]
        store = SeedbedVectorStore(self.get_embeddings(), tmp_path / "store.sqlite")
        yield store
        store.store.close()


TEXTS = ["The bridge opened in 1932.", "Ferries run twice an hour.", "The museum holds steam engines."]


class Letters(DeterministicFakeEmbedding):
    """Counts of letters: near to each other are texts that are alike."""

    def embed_query(self, text: str) -> list[float]:
        return [float(text.lower().count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


def test_the_store_filters_diversifies_and_scores(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    years = [{"year": 1932}, {"year": 2001}, {"year": 1999, "tags": ["a", "b"]}]
    store = SeedbedVectorStore.from_texts(TEXTS, Letters(size=26), years, ids=["one", "two", "three"], path=path)
    (found, cosine), *_ = store.similarity_search_with_score(TEXTS[1], k=3)
    assert (found, round(cosine, 5)) == (Document(id="two", page_content=TEXTS[1], metadata=years[1]), 1.0)
    assert store.similarity_search_with_relevance_scores(TEXTS[1], k=1)[0][1] == pytest.approx(1.0)
    late = store.similarity_search(TEXTS[0], k=3, filter={"year": {"gte": 1990}})
    assert {one.id for one in late} == {"two", "three"}
    assert store.get_by_ids(["three"])[0].metadata == years[2]
    store.add_texts([TEXTS[0] + "!"], [{}], ids=["four"])  # nearly the first again: diversity leaves it out
    first, second = store.max_marginal_relevance_search(TEXTS[0], k=2, lambda_mult=0.1)
    assert first.id == "one"
    assert second.id in ("two", "three")
    vector = np.array(Letters(size=26).embed_query(TEXTS[2]))
    assert store.similarity_search_by_vector(vector.tolist(), k=1)[0].id == "three"
    store.store.close()
    again = SeedbedVectorStore(DeterministicFakeEmbedding(size=26), path)
    with pytest.raises(UsageError, match="were not made by"):
        again.add_texts(["x"])
    assert len(again.get_by_ids(["one", "two", "three", "four"])) == 4


def test_a_batch_in_threads_is_the_replies_one_by_one(plain: LocalModel) -> None:
    chat = SeedbedChat(model=plain, temperature=0.0, max_tokens=12)
    questions = [f"Question {place}" for place in range(6)]
    together = [one.content for one in chat.batch(questions, config={"max_concurrency": 6})]
    alone = [plain.reply([Message("user", text)], temperature=0.0, max_tokens=12).text for text in questions]
    assert together == alone


def test_an_option_that_nobody_knows_is_refused(plain: LocalModel) -> None:
    with pytest.raises(UsageError, match="there is no option"):
        SeedbedChat(model=plain).invoke("Hello", temprature=1)


@pytest.mark.filterwarnings("ignore")
def test_the_tutorials_retrieval_qa_runs_on_our_parts(plain: LocalModel, tmp_path: Path) -> None:
    pytest.importorskip("langchain_classic", reason="RetrievalQA is in langchain-classic, which is not installed")
    splitters = pytest.importorskip("langchain_text_splitters", reason="langchain-text-splitters is not installed")
    from langchain_classic.chains import RetrievalQA

    text = "\n\n".join(TEXTS * 40)
    documents = splitters.CharacterTextSplitter(chunk_size=1000, chunk_overlap=0).create_documents([text])
    store = SeedbedVectorStore.from_documents(documents, SeedbedEmbeddings(LocalEmbedder(plain)))
    model = SeedbedChat(model=plain, max_tokens=20, temperature=0.0)
    chain = RetrievalQA.from_chain_type(model, chain_type="stuff", retriever=store.as_retriever())
    assert isinstance(chain.invoke({"query": "When did the bridge open?"})["result"], str)
