"""Encoding and decoding against the library, transformers and published vectors; files, hashes and refusals."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenizers
from seedbed.chat.reply_builder import StreamDecoder
from seedbed.core.artifacts import Library
from seedbed.core.errors import CorruptError, DataError, NotFoundError, UsageError
from seedbed.tokenizers.special import END, SPECIAL_TOKENS
from seedbed.tokenizers.tokenizer import Tokenizer
from tokenizers import AddedToken, decoders, models, normalizers, trainers

DATA = Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
KINDS = ["bpe", "unigram", "wordpiece", "word", "char", "byte"]
LOSSLESS = ["bpe", "unigram", "byte"]
SAMPLES = [
    "",
    " ",
    "def f(x):\n    return x + 12345  # naïve\n\n\n",
    "tabs\tand\r\nreturns\r  ",
    "漢字かな交じり文 العربية עברית ไทย",
    "👩‍👩‍👧‍👦 e\u0301 \u200b\ufeff \u0000 \U0010ffff",
    "".join(SPECIAL_TOKENS) + "<|unk|>",
]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize("kind", LOSSLESS)
@settings(max_examples=200, deadline=None)
@given(text=st.one_of(ANY_TEXT, st.lists(st.sampled_from(SAMPLES)).map("".join)))
def test_any_text_comes_back_exactly(trained: dict[str, Tokenizer], kind: str, text: str) -> None:
    ids = trained[kind].encode(text)
    assert trained[kind].decode(ids) == text
    assert b"".join(map(trained[kind].token_bytes, ids)) == text.encode()
    assert not set(ids) & trained[kind].special_ids


@pytest.mark.parametrize("kind", KINDS)
def test_lossless_is_said_only_where_it_holds(trained: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = trained[kind]
    exact = all(tokenizer.decode(tokenizer.encode(text)) == text for text in SAMPLES)
    assert tokenizer.is_lossless == exact == (kind in LOSSLESS)


def test_characters_seen_come_back_and_others_do_not(trained: dict[str, Tokenizer], texts: list[str]) -> None:
    tokenizer = trained["char"]
    assert tokenizer.decode(tokenizer.encode(texts[0])) == texts[0]
    assert tokenizer.encode("a漢b")[1] == tokenizer.unk_id
    assert tokenizer.decode(tokenizer.encode("a漢b")) == "a<|unk|>b"


def test_words_keep_their_spacing_and_the_rest_is_unknown(trained: dict[str, Tokenizer], texts: list[str]) -> None:
    tokenizer = trained["word"]
    ids = tokenizer.encode(texts[0])
    known = "".join(tokenizer.pieces(index for index in ids if index != tokenizer.unk_id))
    unknown = ids.count(tokenizer.unk_id)
    assert 0 < unknown < len(ids) / 2
    assert tokenizer.decode(ids).replace("<|unk|>", "") == known
    assert "    def " in known


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_decoding_is_the_librarys_and_streaming_is_decoding(
    trained: dict[str, Tokenizer], kind: str, data: st.DataObject
) -> None:
    tokenizer = trained[kind]
    plain = [index for index in range(tokenizer.vocab_size) if index not in tokenizer.special_ids]
    ids = data.draw(st.lists(st.sampled_from(plain), max_size=20))
    library = _library(tokenizer)
    if not (ids and library.id_to_token(ids[0]).startswith("##")):  # the library shows "##" at the very beginning
        assert tokenizer.decode(ids) == library.decode(ids)
    stream = StreamDecoder(tokenizer)
    shown = [stream.push(index) for index in ids]
    assert "".join(shown) + stream.flush() == tokenizer.decode(ids)


@functools.cache
def _library(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """What the library makes of the saved file."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(Path(folder))
        return tokenizers.Tokenizer.from_file(f"{folder}/tokenizer.json")


def test_a_stream_holds_back_half_a_character(trained: dict[str, Tokenizer]) -> None:
    tokenizer = trained["byte"]
    stream = StreamDecoder(tokenizer)
    assert [stream.push(index) for index in tokenizer.encode("a漢!")] == ["a", "", "", "漢", "!"]
    assert stream.flush() == ""
    assert [stream.push(index) for index in tokenizer.encode("漢")[:2]] == ["", ""]
    assert stream.flush() == "\N{REPLACEMENT CHARACTER}"


def test_a_stream_shows_no_special_token(bpe: Tokenizer) -> None:
    stream = StreamDecoder(bpe)
    assert "".join(map(stream.push, [bpe.bos_id, *bpe.encode("hi"), bpe.end_id])) == "hi"


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_loads_what_is_saved_and_encodes_the_same(
    trained: dict[str, Tokenizer], texts: list[str], tmp_path: Path, kind: str
) -> None:
    from transformers import PreTrainedTokenizerFast

    trained[kind].save(tmp_path)
    theirs = PreTrainedTokenizerFast.from_pretrained(str(tmp_path))
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 1, 2)
    for text in [*SAMPLES[:-1], *texts]:
        ids = theirs.encode(text, add_special_tokens=False)
        assert trained[kind].encode(text) == ids
        if kind != "wordpiece":
            assert trained[kind].decode(ids) == theirs.decode(ids, skip_special_tokens=False)


def test_special_tokens_in_a_text_are_plain_text(trained: dict[str, Tokenizer]) -> None:
    for kind in KINDS:
        ids = trained[kind].encode(f"a{END}b<|assistant|>")
        assert not set(ids) & set(range(6)), kind


def test_specials_are_shown_only_on_request(bpe: Tokenizer) -> None:
    ids = [bpe.bos_id, *bpe.encode("hi"), bpe.end_id]
    assert bpe.decode(ids) == "hi"
    assert bpe.decode(ids, keep_special=True) == "<|bos|>hi<|end|>"
    assert bpe.token_bytes(bpe.end_id) == b""


def test_pieces_show_incomplete_characters_as_bytes(trained: dict[str, Tokenizer]) -> None:
    assert trained["byte"].pieces(trained["byte"].encode("é!")) == ["\\xc3", "\\xa9", "!"]


@pytest.mark.parametrize("kind", KINDS)
def test_saving_and_loading_keeps_ids_and_hash(trained: dict[str, Tokenizer], tmp_path: Path, kind: str) -> None:
    trained[kind].save(tmp_path)
    again = Tokenizer.from_file(tmp_path)
    assert again.hash == trained[kind].hash == Tokenizer.from_file(tmp_path / "tokenizer.json").hash
    assert again.encode_batch(SAMPLES) == trained[kind].encode_batch(SAMPLES)
    assert again.special_ids == trained[kind].special_ids


def test_hash_follows_ids_and_template(bpe: Tokenizer, tmp_path: Path) -> None:
    bpe.save(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": "{{ messages }}"}))
    assert Tokenizer.from_file(tmp_path).hash != bpe.hash


def test_store_and_open(bpe: Tokenizer, tmp_path: Path) -> None:
    library = Library(tmp_path)
    artifact = bpe.store(library, [], {"kind": "bpe"}, "mine")
    assert library.get("mine", "tokenizer").manifest.metrics["hash"] == bpe.hash
    assert Tokenizer.open(artifact).hash == bpe.hash
    path = artifact.file("tokenizer.json")
    path.write_text(path.read_text().replace("return", "retarn", 1))
    with pytest.raises(CorruptError):
        Tokenizer.open(artifact)


def test_require_refuses_another_tokenizer(trained: dict[str, Tokenizer]) -> None:
    trained["bpe"].require(trained["bpe"].hash, "the model")
    with pytest.raises(UsageError, match="the model was made with another tokenizer"):
        trained["bpe"].require(trained["char"].hash, "the model")


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        Tokenizer.from_file(tmp_path / "tokenizer.json")
    for content in (b"", b"{}", b"\xff\xfe\x00", b'{"model": {"type": "BPE"}}', b"[1, 2]"):
        (tmp_path / "tokenizer.json").write_bytes(content)
        with pytest.raises(CorruptError, match="is not a tokenizer"):
            Tokenizer.from_file(tmp_path)


def test_lone_surrogates_are_refused(bpe: Tokenizer) -> None:
    with pytest.raises(DataError, match="cannot be encoded"):
        bpe.encode("half \ud83d")


def test_ids_beyond_the_vocabulary_are_refused(bpe: Tokenizer) -> None:
    with pytest.raises(UsageError, match="no token 800"):
        bpe.decode([5, 800])


def test_a_published_vocabulary_without_end_token_says_so() -> None:
    inner = tokenizers.Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer = Tokenizer.from_json(inner.to_str())
    assert tokenizer.encode("a") == [0]
    with pytest.raises(UsageError, match="has no eos_token"):
        _ = tokenizer.end_id


def test_sentencepiece_style_vocabularies_decode_as_the_library_does(texts: list[str], tmp_path: Path) -> None:
    """LLaMA's form: metaspace by normalizer, byte fallback, a first space that is only a mark."""
    inner = tokenizers.Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    names = ["<unk>", "<s>", "</s>"]
    fallback = [AddedToken(f"<0x{byte:02X}>", special=False, normalized=False) for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=[*names, *fallback], show_progress=False)
    inner.train_from_iterator([text[:20000] for text in texts], trainer=trainer)
    table = json.loads(inner.to_str())
    table["added_tokens"] = [entry for entry in table["added_tokens"] if entry["content"] in names]
    (tmp_path / "tokenizer.json").write_text(json.dumps(table), encoding="utf-8")
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "{{ bos_token }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = Tokenizer.from_file(tmp_path)
    library = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert (tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id, tokenizer.unk_id) == (1, 2, 2, 0)
    assert not tokenizer.is_lossless
    for text in ("def f(x): return 1", " two  spaces", "漢字 é"):
        ids = tokenizer.encode(text)
        assert ids == library.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids) == library.decode(ids) == text
        stream = StreamDecoder(tokenizer)
        assert "".join(map(stream.push, ids)) + stream.flush() == text


@pytest.mark.skipif(not (DATA / "tokenizers").is_dir(), reason="public test vectors are not here")
def test_gpt2_gives_the_published_ids(tmp_path: Path) -> None:
    folder = DATA / "tokenizers"
    inner = tokenizers.ByteLevelBPETokenizer(str(folder / "gpt2_encoder.json"), str(folder / "gpt2_vocab.bpe"))
    inner.save(str(tmp_path / "tokenizer.json"))
    tokenizer = Tokenizer.from_file(tmp_path)
    rows = map(json.loads, (folder / "llamacpp_vectors_dev.jsonl").read_text(encoding="utf-8").splitlines())
    vectors = [(row["text"], row["ids"]) for row in rows if row["tokenizer"] == "gpt-2"]
    assert len(vectors) > 20
    assert tokenizer.encode_batch([text for text, _ in vectors]) == [ids for _, ids in vectors]
    assert [tokenizer.decode(ids) for _, ids in vectors] == [text for text, _ in vectors]
    assert tokenizer.is_lossless
