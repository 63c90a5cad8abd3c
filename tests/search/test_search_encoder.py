"""Encoders as embedders of collections: their vectors against the encoder's own, roles, names, and the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from serving import add_model
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.documents.splitting.split import SplitSettings
from seedbed.formats.importing import import_model
from seedbed.inference.encoding import Encoder
from seedbed.models.store import load_any
from seedbed.rag.collection import Collection
from seedbed.search.embedders import EncoderEmbedder, LocalEmbedder, open_embedder

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *LETTERS, *(f"##{one}" for one in LETTERS)]
TEXTS = ["apples grow on trees", "cars drive on roads", "x" * 90, ""]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A random encoder with prompts, one with a classifier, and a decoder."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    library = Library(folder / "home")
    shape = BertConfig(
        vocab_size=len(PIECES), hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=40,
    )  # fmt: skip
    for name, kind in (("encoder", BertModel), ("classifier", BertForSequenceClassification)):
        torch.manual_seed(3)
        model = kind(shape)
        model.get_input_embeddings().weight.data.normal_(0.0, 1.0)
        model.save_pretrained(folder / name)
        BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)}).save_pretrained(folder / name)
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    (folder / "encoder" / "modules.json").write_text(json.dumps(modules))
    prompts = {"prompts": {"query": "find ", "document": "text "}}
    (folder / "encoder" / "config_sentence_transformers.json").write_text(json.dumps(prompts))
    for name in ("encoder", "classifier"):
        import_model(library, folder / name, name)
    add_model(library, "decoder", 1, 64)
    return library


def test_an_encoder_embeds_with_its_prompts_and_length_1(library: Library) -> None:
    embedder = open_embedder("encoder", library)
    assert isinstance(embedder, EncoderEmbedder)
    encoder = Encoder(load_any(library.get("encoder")))
    for made, before in ((embedder.embed_documents(TEXTS), "text "), (list(map(embedder.embed_query, TEXTS)), "find ")):
        plain = encoder.encode([before + text for text in TEXTS]).vectors
        np.testing.assert_allclose(made, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-6)
    assert embedder.embed_documents([]).shape == (0, 24)
    assert embedder.size == 24
    assert embedder.name == f"model-{library.get('encoder').id[:16]}"
    assert embedder.count_tokens("apples.") == 7


def test_what_is_cut_is_said(library: Library, capsys: pytest.CaptureFixture[str]) -> None:
    open_embedder("encoder", library).embed_documents(TEXTS)
    assert "1 of 4 texts have a vector of their first 40 tokens only" in capsys.readouterr().err


def test_models_are_embedders_by_their_head(library: Library) -> None:
    assert isinstance(open_embedder("decoder", library), LocalEmbedder)
    with pytest.raises(UsageError, match="makes no vectors"):
        open_embedder("classifier", library)


def test_a_collection_keeps_its_encoder(library: Library, tmp_path: Path) -> None:
    for place, text in enumerate(TEXTS[:2]):
        (tmp_path / f"{place}.txt").write_text(text)
    settings = {"embedder": "encoder", "split": {"by": "tokens", "chunk_size": 30}}
    collection = Collection.create(library, "fruit", settings)
    collection.add([str(tmp_path)])
    collection.close()
    again = Collection.open(library, "fruit")
    assert again.settings.split == SplitSettings(by="tokens", chunk_size=30)
    embedder = open_embedder("encoder", library)
    for query in ("apples", "roads drive"):
        scores = embedder.embed_documents(TEXTS[:2]) @ embedder.embed_query(query)
        hits = again.search(query, 2, mode="vector")
        assert [hit.chunk.text for hit in hits] == [TEXTS[place] for place in np.argsort(-scores)]
        assert [hit.score for hit in hits] == pytest.approx(sorted(scores, reverse=True), abs=1e-5)
    again.close()


def test_a_model_that_makes_no_vectors_leaves_no_collection(library: Library) -> None:
    with pytest.raises(UsageError):
        Collection.create(library, "wrong", {"embedder": "classifier"})
    assert not (library.root / "docs" / "wrong").exists()


def test_vectors_made_later_are_near_the_exact_ones_and_questions_stay_exact(library: Library, tmp_path: Path) -> None:
    """They may be made in bfloat16, whose rounding moves a cosine by little."""
    texts = [f"apples grow on tree {letter}" for letter in LETTERS]
    for letter, text in zip(LETTERS, texts, strict=True):
        (tmp_path / f"{letter}.txt").write_text(text)
    made = Collection.create(library, "later", {"embedder": "none"})
    made.add([str(tmp_path)])
    made.embed("encoder")
    chunks = [made.chunks_of(one.source)[0] for one in made.store.documents()]
    rows = made.store.rows([chunk.id for chunk in chunks])
    exact = open_embedder("encoder", library)
    wanted = exact.embed_documents([chunk.text for chunk in chunks])
    found = made.store.vectors_of(list(rows.values()))
    cosines = [float(found[rows[chunk.id]] @ vector) for chunk, vector in zip(chunks, wanted, strict=True)]
    assert min(cosines) > 0.998
    assert made.embedder is not None
    assert np.array_equal(made.embedder.embed_query("apples"), exact.embed_query("apples"))
    made.close()
