"""Vocabularies of GGUF files: published ids, every kind written and read again, and refusals."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
from tokenizer_cases import (
    NAMES,
    gguf_metadata,
    gpt2_folder,
    llama2_folder,
    mixed_text,
    needs_data,
    train_sentencepiece,
    vectors,
)

from seedbed.core.errors import CorruptError, UsageError
from seedbed.formats.gguf.tokenizer import tokenizer_from_gguf
from seedbed.formats.gguf.tokenizer_writing import gguf_tokenizer
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.tokenizers import pretokenizers
from seedbed.tokenizers.tokenizer import Tokenizer

SENTENCES = ["the cat sat on the mat, and the dog did not.", "Ünïcode ﬁ and numbers 123", "한국어 漢字"]
UNSURE = "a\u0301!!\u0301 １２ ٣ x\u00a0y\t\r\n\n  'S 'ſ 'LL 's Don't 12345 ǅǅ ʰ ⅷ _x- …"


@functools.cache
def _published(name: str) -> Tokenizer:
    return tokenizer_from_gguf(gguf_metadata(name))


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_published_vectors_from_gguf(name: str) -> None:
    tokenizer = _published(name)
    rows = vectors(name)
    assert len(rows) == 31
    assert [(text, tokenizer.encode(text)) for text, _ in rows] == rows


@needs_data
def test_published_vectors_from_the_original_files(tmp_path: Path) -> None:
    for name, folder in (("gpt-2", gpt2_folder), ("llama-spm", llama2_folder)):
        (tmp_path / name).mkdir()
        tokenizer = open_tokenizer(folder(tmp_path / name))
        assert [(text, tokenizer.encode(text)) for text, _ in vectors(name)] == vectors(name)


@needs_data
def test_what_stands_around_a_text() -> None:
    around = {name: _published(name).wrap([7]) for name in NAMES}
    assert around == {
        "gpt-2": [7],
        "starcoder": [7],
        "llama-spm": [1, 7],
        "phi-3": [1, 7],
        "bert-bge": [101, 7, 102],
    }


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_written_and_read_again(name: str) -> None:
    first = _published(name)
    written = gguf_tokenizer(first)
    again = tokenizer_from_gguf(written)
    texts = mixed_text(30_000)
    assert again.encode_batch(texts) == first.encode_batch(texts)
    assert again.wrap([7]) == first.wrap([7])
    assert (again.names, again.special_ids) == (first.names, first.special_ids)
    assert (again.chat_templates, again.unk_id) == (first.chat_templates, first.unk_id)
    stated = {key: value for key, value in gguf_metadata(name).items() if key in written and "scores" not in key}
    assert {key: written[key] for key in stated if not key.endswith((".pre", "token_type"))} == {
        key: value for key, value in stated.items() if not key.endswith((".pre", "token_type"))
    }


@needs_data
def test_phi3_keeps_what_is_beyond_its_vocabulary() -> None:
    tokenizer = _published("phi-3")
    assert tokenizer.vocab_size == 32064
    assert tokenizer.token_bytes(32063) == b""
    chat = [{"role": "user", "content": "Hi <|end|>"}]
    ids, _ = tokenizer.encode_chat(chat, add_generation_prompt=True)
    assert [*ids[:2], ids[-1]] == [1, 32010, 32001]  # <s><|user|> … <|assistant|>
    assert ids.count(32007) == 1  # the template's <|end|>, not the user's


@pytest.mark.parametrize("kind", ["bpe", "byte"])
def test_tokenizers_trained_here(trained: dict[str, Tokenizer], texts: list[str], kind: str) -> None:
    tokenizer = trained[kind]
    again = tokenizer_from_gguf(gguf_tokenizer(tokenizer, size=tokenizer.vocab_size + 3))
    lines = [line for text in texts for line in text.splitlines()]
    assert again.encode_batch(lines) == tokenizer.encode_batch(lines)
    assert again.wrap([9]) == [tokenizer.bos_id, 9]  # as its documents begin
    assert again.encode_prompt("x") == tokenizer.encode_prompt("x")
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    assert again.encode_chat(chat) == tokenizer.encode_chat(chat)
    assert again.vocab_size == tokenizer.vocab_size + 3
    assert again.token_bytes(tokenizer.vocab_size + 2) == b""


@pytest.mark.parametrize("kind", ["unigram", "wordpiece", "word", "char"])
def test_kinds_that_llama_cpp_has_not_are_refused(trained: dict[str, Tokenizer], kind: str) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        gguf_tokenizer(trained[kind])


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sentencepiece_there_and_back(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("sentencepiece")
    options = {"byte_fallback": True, "normalization_rule_name": "identity"} if kind == "bpe" else {}
    trim = kind == "unigram"
    data = train_sentencepiece(
        SENTENCES * 9, model_type=kind, vocab_size=340 if kind == "bpe" else 70,
        user_defined_symbols=["<sep>"], remove_extra_whitespaces=trim, **options,
    )  # fmt: skip
    (tmp_path / "tokenizer.model").write_bytes(data)
    first = open_tokenizer(tmp_path)
    again = tokenizer_from_gguf(gguf_tokenizer(first))
    lines = [*SENTENCES, "the<sep>cat  <sep> ", " \t", "mat \u1112\u1161\u11ab", "zzz 12"]
    assert again.encode_batch(lines) == first.encode_batch(lines)
    assert again.names == first.names


@pytest.mark.parametrize("name", sorted(pretokenizers.SPLITS))
def test_every_named_cut_is_written_under_its_name(trained: dict[str, Tokenizer], name: str) -> None:
    first = tokenizer_from_gguf({**gguf_tokenizer(trained["bpe"]), "tokenizer.ggml.pre": name})
    written = gguf_tokenizer(first)
    assert pretokenizers.SPLITS[written["tokenizer.ggml.pre"]] == pretokenizers.SPLITS[name]
    assert tokenizer_from_gguf(written).encode(UNSURE) == first.encode(UNSURE)
    assert first.decode(first.encode("plain text")) == "plain text"


def _small(**changes: Any) -> dict[str, Any]:
    """A byte-level vocabulary of four pieces."""
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": ["a", "b", "ab", "<end>"],
        "tokenizer.ggml.token_type": [1, 1, 1, 3],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 3,
    }
    metadata |= {f"tokenizer.ggml.{key}": value for key, value in changes.items()}
    return {key: value for key, value in metadata.items() if value is not None}


def test_a_small_vocabulary() -> None:
    tokenizer = tokenizer_from_gguf(_small())
    assert tokenizer.encode("abba") == [2, 1, 0]
    assert tokenizer.end_id == 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": "rwkv"}, "rwkv"),
        ({"model": None}, "missing"),
        ({"model": "no_vocab"}, "no_vocab"),
        ({"pre": "kimi-k2"}, "'kimi-k2'"),
        ({"tokens": []}, "0 pieces"),
        ({"token_type": [1]}, "4 pieces have 1 types"),
        ({"tokens": ["a", "b", "a", "<end>"]}, "'a' is there twice"),
        ({"merges": ["a c"]}, "'a c'"),
        ({"merges": ["ab"]}, "'ab'"),
        ({"eos_token_id": 4}, "number 4, and there are 4 pieces"),
        ({"model": "llama", "scores": [0.0], "unknown_token_id": 0}, "4 pieces have 1 scores"),
        ({"model": "t5", "unknown_token_id": 0, "precompiled_charsmap": [9, 0, 0, 0, 1]}, "cannot hold a trie of 9"),
        ({"model": "bert"}, "the unk_token"),
    ],
)
def test_damaged_and_unknown_vocabularies_are_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises((CorruptError, UsageError)) as refused:
        tokenizer_from_gguf(_small(**changes)).encode("ab")
    assert reason in refused.value.why


def test_several_chat_templates() -> None:
    metadata = _small() | {
        "tokenizer.chat_template": "{{ messages[0].content }}!",
        "tokenizer.chat_templates": ["tool_use"],
        "tokenizer.chat_template.tool_use": "tools",
        "general.architecture": "llama",
        "llama.context_length": 512,
    }
    tokenizer = tokenizer_from_gguf(metadata)
    assert tokenizer.render_chat([{"role": "user", "content": "hi"}]) == "hi!"
    assert tokenizer.chat_templates == {"default": "{{ messages[0].content }}!", "tool_use": "tools"}
    written = gguf_tokenizer(tokenizer)
    assert {key: written[key] for key in metadata if "chat" in key} == {
        key: value for key, value in metadata.items() if "chat" in key
    }
