"""Models as GGUF files, without llama.cpp: out and in again, names against the ``gguf`` package's, damaged metadata."""

from __future__ import annotations

import dataclasses
import lzma
import os
import shutil
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from gguf_models import BASE, BERT, CONFIGS, FAMILIES, exported, random_model, reopened, vocabulary

from seedbed.core.errors import CorruptError, SeedbedError, UsageError
from seedbed.formats.gguf.architectures import ARCHITECTURES
from seedbed.formats.gguf.file import GgufFile, open_gguf
from seedbed.formats.gguf.model import gguf_metadata, read_gguf_model, read_shape, write_gguf_parts
from seedbed.formats.gguf.rules import NAMES, VOCABULARY
from seedbed.formats.gguf.tokenizer_writing import gguf_tokenizer
from seedbed.formats.gguf.writing import write_gguf
from seedbed.formats.importing import open_published
from seedbed.formats.published import load_published
from seedbed.models.config import ModelConfig
from seedbed.models.factory import skeleton
from seedbed.models.families.registry import publish, read_published
from seedbed.models.families.weight_mapping import expand
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

DATA = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
ALL = [*CONFIGS, "bert"]
CONFIGS_AND_BERT = {**CONFIGS, "bert": ("bert", BERT)}


@pytest.mark.parametrize("case", CONFIGS)
def test_what_was_exported_opens_here_as_it_was(tmp_path: Path, case: str) -> None:
    path = tmp_path / "x.gguf"
    model = exported(path, case, "f32")
    again = reopened(path)
    architecture = gguf_metadata(model.config, FAMILIES.get(CONFIGS[case][0]))[0]
    told = architecture.expressed(model.config)
    assert architecture.expressed(again.config) == again.config
    assert skeletons_alike(again.config, told)
    before, after = dict(model.named_parameters()), dict(again.named_parameters())
    for name, parameter in before.items():
        torch.testing.assert_close(after[name], parameter, rtol=1e-6, atol=1e-6, msg=name)  # Gemma's 1 + weight rounds


def skeletons_alike(one: ModelConfig, other: ModelConfig) -> bool:
    """The same but for spellings of the usual numbers of heads and their size."""

    def plain(config: ModelConfig) -> ModelConfig:
        kinds = tuple(config.mixer(layer) for layer in range(config.n_layers))
        own = {"n_kv_heads": config.kv_heads, "head_dim": config.head_size, "d_ff": config.hidden, "mixers": kinds}
        return dataclasses.replace(config, **own)

    return plain(one) == plain(other)


@pytest.mark.parametrize(("quantization", "bound"), [("f16", 1e-3), ("bf16", 8e-3), ("q8_0", 1e-2), ("q4_0", 0.15)])
def test_quantized_exports_are_near(tmp_path: Path, quantization: Any, bound: float) -> None:
    model = random_model(ModelConfig(**BASE | {"d_model": 64, "n_heads": 4, "head_dim": 16, "d_ff": 96}))
    write_gguf_parts(tmp_path / "x.gguf", model, vocabulary(), quantization)
    again = dict(reopened(tmp_path / "x.gguf").named_parameters())
    for name, parameter in model.named_parameters():
        distance = (again[name] - parameter).norm() / parameter.norm()
        assert distance < (bound if parameter.ndim > 1 else 1e-6), name
        assert parameter.ndim == 1 or distance > 0


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["some text about some trees and some seeds"] * 3, TokenizerSettings(vocab_size=280))


@pytest.mark.parametrize("case", [case for case in CONFIGS if not case.startswith("mistral's")])
def test_a_file_is_a_published_model(tmp_path: Path, tokenizer: Tokenizer, case: str) -> None:
    """Opened as any other; its config.json, which is made, says the same shape; one precision; the tokenizer's ids."""
    path, (architecture, fields) = tmp_path / "x.gguf", CONFIGS[case]
    fields = {**fields, "d_ff": 192} if architecture == "bloom" else fields  # what its config.json has no word for
    model = random_model(ModelConfig(**BASE | fields | {"vocab_size": tokenizer.vocab_size + 6}))
    family = next(one.published for one in ARCHITECTURES if one.family.name == architecture)
    licensed = gguf_tokenizer(tokenizer, tokenizer.vocab_size + 6) | {"general.license": "mit"}
    write_gguf_parts(path, model, licensed, "f16", family=family)
    found = open_published(path)
    assert family in (None, found.family.name)
    assert found.licence == "mit"
    again, left = load_published(found)
    assert left == ()
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float16}
    assert skeletons_alike(read_published(found.config)[1], found.shape)  # type: ignore[arg-type]
    assert found.tokenizer is not None
    text = "some seeds, some text ✓"
    assert found.tokenizer.encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("case", ALL)
def test_names_are_those_of_the_gguf_package(case: str) -> None:
    """Its table goes from published names to GGUF's; ours goes from our parameters to either."""
    architecture, fields = CONFIGS_AND_BERT[case]
    config = ModelConfig(**BASE | {"d_ff": 192 if architecture == "bloom" else 72} | fields)
    one = next(one for one in ARCHITECTURES if one.family.name == architecture)
    family, _ = publish(config, one.published)
    table = gguf.get_tensor_name_map(next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == architecture), 3)
    model = skeleton(config)
    published = {name: row.theirs for row in expand(family.table(config), model) for name in row.ours}
    ours = {name: row.theirs for row in reversed(list(expand(one.family.table(config), model))) for name in row.ours}
    bare = {name: theirs.removeprefix("bert.") for name, theirs in published.items()}
    expected = {name: table.get_name(theirs, (".weight", ".bias")) for name, theirs in bare.items()}
    known = {name: found for name, found in expected.items() if found is not None and "experts" not in name}
    assert len(known) > 0.8 * len([name for name in published if "experts" not in name])
    assert {name: ours[name] for name in known} == known


@pytest.mark.parametrize("name", ["bert-bge", "gpt-2", "llama-spm", "phi-3", "starcoder"])
def test_metadata_are_those_of_llama_cpps_converter(tmp_path: Path, name: str) -> None:
    """Its vocabulary files have the metadata of real models; read and written again they are the same."""
    source = DATA / "tokenizers" / f"ggml-vocab-{name}.gguf.xz"
    if not source.exists():
        pytest.skip("the public vocabulary files are not there")
    path = tmp_path / "vocabulary.gguf"
    with lzma.open(source) as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file)
    metadata = open_gguf(path).metadata
    architecture = metadata["general.architecture"]
    theirs = {key: metadata[key] for key in metadata if key.startswith(f"{architecture}.")}
    own = {key.removeprefix(f"{architecture}."): value for key, value in theirs.items()}
    tensors = {"output.weight", "blk.0.attn_q.bias", "blk.0.attn_output.bias", "blk.0.ffn_up.bias"}
    if name == "llama-spm":
        tensors = {"output.weight"}
    facts = {**own, NAMES: frozenset(tensors), VOCABULARY: len(metadata["tokenizer.ggml.tokens"])}
    one = next(one for one in ARCHITECTURES if one.family.name == architecture)
    config = one.family.read(facts, "lm")
    chosen, written = gguf_metadata(config, one.published)
    assert chosen is one
    for key, value in theirs.items():
        if key != "phi3.rope.scaling.original_context_length":  # says the context's length again
            assert written[key] == pytest.approx(value, rel=1e-6), key


def test_shapes_that_llama_cpp_has_not_are_refused() -> None:
    for fields in ({"mixers": ("lstm",)}, {"mixers": ("sliding", "attention"), "window": 8}, {"logit_scale": 2.0}):
        with pytest.raises(UsageError, match="no architecture") as caught:
            gguf_metadata(ModelConfig(**BASE | fields))
        assert "llama: " in caught.value.why


def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path) -> None:
    model = random_model(ModelConfig(**BASE | {"vocab_size": 121}))
    with pytest.raises(UsageError, match="not the model's"):
        write_gguf_parts(tmp_path / "x.gguf", model, vocabulary())
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> GgufFile:
    """A file with experts, which has every kind of count."""
    path = tmp_path_factory.mktemp("whole") / "x.gguf"
    exported(path, "mixtral", "f32")
    return open_gguf(path)


def damaged(whole: GgufFile, path: Path, change: dict[str, Any], drop: str = "") -> None:
    """The same with other metadata, and without tensors whose name begins with ``drop``."""
    made = ("general.file_type", "general.quantization_version")  # the writer says these itself
    told = {key: whole.metadata[key] for key in whole.metadata if key not in made} | change
    tensors = [(name, whole.read(name)) for name in whole.names() if not drop or not name.startswith(drop)]
    write_gguf(path, {key: value for key, value in told.items() if value is not None}, tensors, "f32")


@pytest.mark.parametrize(
    ("change", "drop", "kind"),
    [
        ({"llama.block_count": 2**31}, "", CorruptError),
        ({"llama.block_count": 2}, "", CorruptError),
        ({"llama.block_count": "many"}, "", CorruptError),
        ({"llama.block_count": None}, "", CorruptError),
        ({"llama.expert_count": 2**31}, "", CorruptError),
        ({"llama.expert_used_count": 9}, "", UsageError),
        ({"llama.attention.head_count": 0}, "", UsageError),
        ({"llama.attention.head_count": 2**31}, "", SeedbedError),
        ({"llama.attention.head_count_kv": [2, 2, 1]}, "", UsageError),
        ({"llama.attention.key_length": 2**31}, "", SeedbedError),
        ({"llama.embedding_length": "wide"}, "", UsageError),
        ({"llama.embedding_length": 64}, "", SeedbedError),
        ({"llama.context_length": None}, "", UsageError),
        ({"llama.feed_forward_length": 2**31}, "", SeedbedError),
        ({"llama.attention.layer_norm_rms_epsilon": "small"}, "", UsageError),
        ({"llama.rope.scaling.type": "other"}, "", UsageError),
        ({"general.architecture": "nonesuch"}, "", UsageError),
        ({}, "token_embd", CorruptError),
        ({}, "blk.1.", CorruptError),
        ({}, "output_norm", CorruptError),
    ],
)
def test_damaged_metadata_are_refused(
    tmp_path: Path, whole: GgufFile, change: dict[str, Any], drop: str, kind: type[Exception]
) -> None:
    path = tmp_path / "x.gguf"
    damaged(whole, path, change, drop)
    with pytest.raises(kind):
        load_published(read_without_vocabulary(path))


def read_without_vocabulary(path: Path) -> Any:
    """The file's own model; its made-up vocabulary is not the point here."""
    from seedbed.formats.gguf.model import model_weights, precision
    from seedbed.formats.published import Published

    file = open_gguf(path)
    architecture, config = read_shape(file)
    family, written = publish(config, architecture.published)
    rows = architecture.family.table(config)
    return Published(str(path), family, written, config, model_weights(file), rows, precision=precision(file))


def test_the_undamaged_file_opens(tmp_path: Path, whole: GgufFile) -> None:
    damaged(whole, tmp_path / "x.gguf", {})
    model, left = load_published(read_without_vocabulary(tmp_path / "x.gguf"))
    assert left == ()
    assert next(model.parameters()).dtype == torch.float32


def test_a_file_that_is_a_vocabulary_only_is_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "x.gguf", {"general.architecture": "llama", "llama.block_count": 0}, [], "f32")
    with pytest.raises(CorruptError, match="no embedding"):
        read_gguf_model(tmp_path / "x.gguf")
