"""Encoders against transformers with the same random weights and sentence-transformers' pooling written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from serving import add_model
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BertTokenizer,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError, CorruptError, DataError, UsageError
from seedbed.formats.importing import import_model
from seedbed.inference.encoding import Encoder, batches
from seedbed.models.store import load_any

LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "seeds", "bed", ",", *LETTERS, *(f"##{one}" for one in LETTERS)]
TOKENIZER = BertTokenizer(vocab={piece: number for number, piece in enumerate(PIECES)}, model_max_length=64)
SHAPE = {
    "vocab_size": len(PIECES), "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3,
    "intermediate_size": 40, "max_position_embeddings": 64,
}  # fmt: skip
TEXTS = ["", "seeds", "a bed, of Seeds", "x" * 20, "größer 🌱", "seeds " * 50, "seeds " * 90, "b e d " * 10]
FLAGS = {"mean": "pooling_mode_mean_tokens", "first": "pooling_mode_cls_token", "last": "pooling_mode_lasttoken"}


def random_bert(kind: type[PreTrainedModel] = BertModel) -> PreTrainedModel:
    torch.manual_seed(2)
    model = kind(BertConfig(**SHAPE)).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data.normal_(0.0, 0.3)
    return model


def modules(folder: Path, *kinds: str, pooling: Any = None, texts: Any = None, settings: Any = None) -> None:
    """sentence-transformers' files beside a model."""
    entries = [
        {"path": f"{place}_{kind}" if place else "", "type": f"sentence_transformers.models.{kind}"}
        for place, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(entries))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling or {FLAGS["mean"]: True}))
    if texts:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(texts))
    if settings:
        (folder / "sentence_bert_config.json").write_text(json.dumps(settings))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A published BERT without a head."""
    torch.set_num_threads(1)
    random_bert().save_pretrained(tmp_path / "bert")
    TOKENIZER.save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def load(folder: Path) -> Encoder:
    return Encoder(load_any(import_model(Library(folder.parent / "home"), folder, "it")))


def expected(texts: list[str], pool: str = "mean", length: int = 64, model: Any = None) -> Any:
    """Each text alone, through transformers, pooled by hand."""
    model, rows = model or random_bert(), []
    for text in texts:
        inputs = TOKENIZER(text, truncation=True, max_length=length, return_tensors="pt", return_token_type_ids=False)
        with torch.no_grad():
            states = model(**inputs).last_hidden_state[0]
        rows.append({"mean": states.mean(0), "first": states[0], "last": states[-1]}[pool])
    return torch.stack(rows).numpy()


def units(vectors: Any) -> Any:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("pool", list(FLAGS))
@pytest.mark.parametrize("normal", [True, False])
def test_vectors_are_pooled_as_published(folder: Path, pool: str, normal: bool) -> None:
    modules(folder, "Transformer", "Pooling", *(["Normalize"] if normal else []), pooling={FLAGS[pool]: True})
    wanted = expected(TEXTS, pool)
    found = load(folder).encode(TEXTS)
    np.testing.assert_allclose(found.vectors, units(wanted) if normal else wanted, atol=2e-6 if normal else 2e-5)
    assert found.cut == (6,)
    assert found.tokens == tuple(min(64, len(TOKENIZER(text)["input_ids"])) for text in TEXTS)


def test_newer_names_of_pooling_are_known(folder: Path) -> None:
    modules(folder, "Transformer", "Pooling", pooling={"pooling_mode": "cls", "embedding_dimension": 24})
    np.testing.assert_allclose(load(folder).encode(TEXTS).vectors, expected(TEXTS, "first"), atol=2e-5)


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_an_encoder_without_such_files_pools_by_the_mean(tmp_path: Path, kind: type[PreTrainedModel]) -> None:
    model = random_bert(kind)
    model.save_pretrained(tmp_path / "bert")
    TOKENIZER.save_pretrained(tmp_path / "bert")
    encoder = load(tmp_path / "bert")
    assert not encoder.normalize
    body = model.bert if kind is BertForMaskedLM else model
    np.testing.assert_allclose(encoder.encode(TEXTS).vectors, expected(TEXTS, model=body), atol=2e-5)


def test_a_decoder_that_was_made_an_encoder_pools_its_last_state(tmp_path: Path) -> None:
    """As Qwen3-Embedding is published: a causal language model with sentence-transformers' files."""
    shape = {"vocab_size": len(PIECES), "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2}
    torch.manual_seed(6)
    heads = {"num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64}
    model = Qwen3ForCausalLM(Qwen3Config(**shape, **heads, tie_word_embeddings=True)).eval()
    model.save_pretrained(tmp_path / "qwen")
    TOKENIZER.save_pretrained(tmp_path / "qwen")
    modules(tmp_path / "qwen", "Transformer", "Pooling", "Normalize", pooling={FLAGS["last"]: True})
    wanted = units(expected(TEXTS, "last", model=model.model))
    np.testing.assert_allclose(load(tmp_path / "qwen").encode(TEXTS).vectors, wanted, atol=2e-6)


def test_texts_are_cut_where_the_publisher_says(folder: Path) -> None:
    modules(folder, "Transformer", "Pooling", settings={"max_seq_length": 16, "do_lower_case": False})
    encoder = load(folder)
    found = encoder.encode(TEXTS)
    assert encoder.window == 16
    assert found.cut == tuple(place for place, text in enumerate(TEXTS) if len(TOKENIZER(text)["input_ids"]) > 16)
    assert max(found.tokens) == 16
    np.testing.assert_allclose(found.vectors, expected(TEXTS, length=16), atol=2e-5)


def test_prompts_stand_before_texts_of_their_role(folder: Path) -> None:
    modules(folder, "Transformer", "Pooling", texts={"prompts": {"query": "bed, ", "document": ""}})
    encoder = load(folder)
    for role, before in (("query", "bed, "), ("document", ""), ("", ""), ("other", "")):
        wanted = expected([before + text for text in TEXTS[:4]])
        np.testing.assert_allclose(encoder.encode(TEXTS[:4], role=role).vectors, wanted, atol=2e-5)


def test_capitals_go_where_the_publisher_says(folder: Path) -> None:
    """This tokenizer keeps none by itself, so one that does is needed to tell."""
    table = json.loads((folder / "tokenizer.json").read_text())
    table["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(table))
    for lower, same in ((True, True), (False, False)):
        modules(folder, "Transformer", "Pooling", settings={"do_lower_case": lower})
        one, other = load(folder).encode(["Seeds", "seeds"]).vectors
        assert np.allclose(one, other) == same


def test_neighbours_do_not_matter(folder: Path) -> None:
    modules(folder, "Transformer", "Pooling", "Normalize")
    encoder = load(folder)
    texts = [" ".join(LETTERS[(place * step) % 26] for step in range(1, 2 + place * 7 % 45)) for place in range(200)]
    together = encoder.encode(texts).vectors
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    backwards = encoder.encode(texts[::-1]).vectors[::-1]
    assert np.abs(together - alone).max() < 1e-6
    assert np.abs(together - backwards).max() < 1e-6
    assert np.array_equal(together, encoder.encode(texts).vectors)
    assert np.abs(together[0] - together[1]).max() > 1e-2


def test_nothing_gives_nothing(folder: Path) -> None:
    encoder = load(folder)
    assert encoder.encode([]).vectors.shape == (0, 24)
    assert encoder.size == 24


def test_special_tokens_in_a_text_are_text(folder: Path) -> None:
    encoder = load(folder)
    assert encoder.encode(["[SEP]"]).tokens != encoder.encode([""]).tokens
    with pytest.raises(DataError, match="surrogate"):
        encoder.encode(["\ud800"])


def test_ids_that_cannot_be_read_are_refused(folder: Path) -> None:
    encoder = load(folder)
    with pytest.raises(CapacityError):
        encoder.embed([[5] * 65])
    with pytest.raises(UsageError):
        encoder.embed([[len(PIECES)]])
    with pytest.raises(UsageError, match="empty"):
        encoder.embed([[]])


@pytest.mark.parametrize(
    ("kinds", "files", "named"),
    [
        (("Transformer", "Pooling", "Dense"), {}, "Dense"),
        (("Transformer", "Pooling"), {"pooling": {FLAGS["mean"]: True, FLAGS["first"]: True}}, "cls and mean"),
        (("Transformer", "Pooling"), {"pooling": {"pooling_mode_max_tokens": True}}, "max"),
        (("Transformer", "Pooling"), {"pooling": {"pooling_mode": ["mean", "max"]}}, "mean and max"),
        (
            ("Transformer", "Pooling"),
            {"pooling": {FLAGS["mean"]: True, "include_prompt": False}, "texts": {"prompts": {"query": "find: "}}},
            "prompts",
        ),
    ],
)
def test_other_ways_to_make_vectors_are_refused(folder: Path, kinds: Any, files: Any, named: str) -> None:
    modules(folder, *kinds, **files)
    with pytest.raises(UsageError, match="unsupported way") as caught:
        load(folder)
    assert named in caught.value.why


@pytest.mark.parametrize("text", ["{}", "[1]", "[{", '"x"', "null"])
def test_a_strange_list_of_modules_is_an_error(folder: Path, text: str) -> None:
    (folder / "modules.json").write_text(text)
    with pytest.raises((UsageError, CorruptError)):
        load(folder)


def test_a_module_outside_the_folder_is_not_read(folder: Path) -> None:
    modules(folder, "Transformer", "Pooling")
    (folder.parent / "secret").mkdir()
    (folder.parent / "secret" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
    entries = json.loads((folder / "modules.json").read_text())
    entries[1]["path"] = "../secret"
    (folder / "modules.json").write_text(json.dumps(entries))
    np.testing.assert_allclose(load(folder).encode(TEXTS).vectors, expected(TEXTS), atol=2e-5)


def test_a_decoder_is_no_encoder(tmp_path: Path) -> None:
    library = Library(tmp_path)
    add_model(library, "decoder", 1)
    with pytest.raises(UsageError, match="makes no vectors"):
        Encoder(load_any(library.get("decoder")))


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 600))
def test_batches_hold_every_text_once_and_fit(lengths: list[int], budget: int) -> None:
    made = list(batches(lengths, budget))
    assert sorted(place for batch in made for place in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[place] for place in batch) <= budget for batch in made if len(batch) > 1)
    order = [lengths[place] for batch in made for place in batch]
    assert order == sorted(order, reverse=True)
