"""llama.cpp gives the ids that we give, from the metadata that we write."""

from __future__ import annotations

import itertools
import unicodedata
from pathlib import Path

import pytest
from tokenizer_cases import NAMES, gguf_metadata, mixed_text, needs_data, train_sentencepiece, unicode_lines

from seedbed.formats.gguf.tokenizer import tokenizer_from_gguf
from seedbed.formats.gguf.tokenizer_writing import gguf_tokenizer
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.tokenizers import pretokenizers
from seedbed.tokenizers.tokenizer import Tokenizer

llama_cpp = pytest.importorskip("llama_cpp", reason="llama_cpp is not installed")
pytestmark = needs_data

EVERY_NAME = sorted({*pretokenizers.SPLITS, *(name for names in pretokenizers.SAME.values() for name in names)})
NOTED = {
    "tekken": "its expression has no \\p{Lu}: capitals are A to Z",
    "gpt-4o": "the same",
    "llama4": "the same",
    "deepseek-v3": "its Unicode has fewer symbols",
    "qwen2": "it leaves out normal form C",
    "deepseek-r1-qwen": "the same",
    "bert-bge": "it drops Korean vowels and enclosing marks like accents; young characters go by another Unicode",
}
"""Where llama.cpp's ids differ from the original implementations', with which ours are compared in the parity tests."""


def _differences(path: Path, metadata: dict[str, object], ours: Tokenizer, texts: list[str]) -> list[str]:
    from seedbed.formats.gguf.writing import write_gguf

    write_gguf(path, {"general.architecture": "llama", **metadata}, [], "f32")
    theirs = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    found = [theirs.tokenize(text.encode(), add_bos=False, special=False) for text in texts]
    return [text for text, mine, other in zip(texts, ours.encode_batch(texts), found, strict=True) if mine != other]


def _seen_otherwise(character: str) -> bool:
    young = unicodedata.ucd_3_2_0.category(character) == "Cn"
    return young or "\u1160" <= character <= "\u11ff" or unicodedata.category(character) in ("Mc", "Me")


def _texts() -> list[str]:
    return [*mixed_text(60_000), *itertools.islice(unicode_lines(5), 500)]


@pytest.mark.parametrize("name", NAMES)
def test_published_vocabularies(tmp_path: Path, name: str) -> None:
    ours, texts = tokenizer_from_gguf(gguf_metadata(name)), _texts()
    wrong = _differences(tmp_path / "v.gguf", gguf_tokenizer(ours), ours, texts)
    if name in NOTED:
        assert len(wrong) < len(texts) / 10
        wrong = [text for text in wrong if not any(map(_seen_otherwise, unicodedata.normalize("NFD", text)))]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("name", EVERY_NAME)
def test_every_named_cut(tmp_path: Path, name: str) -> None:
    metadata = {**gguf_metadata("gpt-2"), "tokenizer.ggml.pre": name}
    ours, texts = tokenizer_from_gguf(metadata), _texts()
    if name in pretokenizers.COMPOSED:
        texts = [text for text in texts if unicodedata.is_normalized("NFC", text)]
    stated = {key: value for key, value in metadata.items() if key.startswith("tokenizer.")}
    wrong = _differences(tmp_path / "v.gguf", stated, ours, texts)
    assert len(wrong) <= (len(texts) / 200 if name in NOTED else 0)


@pytest.mark.parametrize("kind", ["bpe", "byte"])
def test_tokenizers_trained_here(tmp_path: Path, trained: dict[str, Tokenizer], kind: str) -> None:
    ours = trained[kind]
    assert _differences(tmp_path / "v.gguf", gguf_tokenizer(ours, ours.vocab_size + 2), ours, _texts()) == []


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_small_sentencepiece_models(tmp_path: Path, kind: str) -> None:
    """Unigram scores are summed in 64 bits on both sides, so there are no ties."""
    pytest.importorskip("sentencepiece")
    texts = _texts()
    options = {"byte_fallback": True, "normalization_rule_name": "identity"} if kind == "bpe" else {}
    data = train_sentencepiece(
        texts[:300], model_type=kind, vocab_size=3000, character_coverage=0.98,
        remove_extra_whitespaces=kind == "unigram", **options,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(data)
    ours = open_tokenizer(tmp_path)
    assert _differences(tmp_path / "v.gguf", gguf_tokenizer(ours), ours, texts) == []
