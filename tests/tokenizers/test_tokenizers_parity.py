"""The same ids as the implementations that published vocabularies come from, on text of many kinds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tokenizer_cases import (
    bert_folder,
    gguf_metadata,
    gpt2_folder,
    llama2_folder,
    mixed_text,
    needs_data,
    train_sentencepiece,
    unicode_lines,
)

from seedbed.formats.gguf.tokenizer import tokenizer_from_gguf
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.tokenizers.tokenizer import Tokenizer

QUICK, WHOLE = 200_000, 10_000_000
SIZES = [pytest.param(QUICK, id="200kB"), pytest.param(WHOLE, id="10MB", marks=pytest.mark.slow)]
sentencepiece = pytest.importorskip("sentencepiece")
Encode = Callable[[list[str]], list[list[int]]]


def _differences(texts: Sequence[str], ours: Tokenizer, theirs: Encode) -> list[tuple[str, list[int], list[int]]]:
    assert texts
    pairs = zip(texts, ours.encode_batch(texts), theirs(list(texts)), strict=True)
    return [(text, mine, other) for text, mine, other in pairs if mine != other]


def _transformers(tokenizer: Callable[..., dict[str, list[list[int]]]]) -> Encode:
    return lambda texts: tokenizer(texts, add_special_tokens=False)["input_ids"]


@needs_data
@pytest.mark.parametrize("size", SIZES)
def test_byte_level_bpe_is_transformers_gpt2(tmp_path: Path, size: int) -> None:
    from transformers import GPT2Tokenizer

    folder = gpt2_folder(tmp_path)
    theirs = GPT2Tokenizer.from_pretrained(str(folder))
    ours = open_tokenizer(folder)
    assert _differences(mixed_text(size), ours, _transformers(theirs)) == []
    assert (ours.end_id, ours.vocab_size) == (theirs.eos_token_id, len(theirs))


@needs_data
@pytest.mark.parametrize("size", SIZES)
def test_sentencepiece_bpe_is_sentencepieces(tmp_path: Path, size: int) -> None:
    folder = llama2_folder(tmp_path)
    theirs = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    ours = open_tokenizer(folder)
    assert _differences(mixed_text(size), ours, theirs.encode) == []


@needs_data
@pytest.mark.parametrize("size", SIZES)
def test_wordpiece_is_transformers_bert(tmp_path: Path, size: int) -> None:
    from transformers import BertTokenizer

    folder = bert_folder(tmp_path)
    theirs = BertTokenizer.from_pretrained(str(folder))
    texts = mixed_text(size)
    assert _differences(texts, open_tokenizer(folder), _transformers(theirs)) == []
    assert _differences(texts, tokenizer_from_gguf(gguf_metadata("bert-bge")), _transformers(theirs)) == []


@needs_data
@pytest.mark.parametrize(("lower", "accents"), [(True, None), (False, None), (True, False), (False, True)])
def test_wordpiece_cleans_text_as_told(tmp_path: Path, lower: bool, accents: bool | None) -> None:
    from transformers import BertTokenizer

    folder = bert_folder(tmp_path)
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower, "strip_accents": accents}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    theirs = BertTokenizer.from_pretrained(str(folder), do_lower_case=lower, strip_accents=accents)
    texts = ["Über Ängste in Ångström, the É.", "café CAFÉ 漢字かな", *islice(unicode_lines(3), 300)]
    assert _differences(texts, open_tokenizer(folder), _transformers(theirs)) == []


OPTIONS = {
    "nfkc": {"character_coverage": 0.9995, "user_defined_symbols": ["<sep>", "<cls>"]},
    "bytes": {"byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False},
    "case-folded": {"normalization_rule_name": "nmt_nfkc_cf", "add_dummy_prefix": False},
    "trimmed": {"normalization_rule_name": "identity", "allow_whitespace_only_pieces": True},
}


def _trained(folder: Path, texts: list[str], **options: object) -> tuple[Tokenizer, Any]:
    data = train_sentencepiece(texts, **options)
    (folder / "tokenizer.model").write_bytes(data)
    return open_tokenizer(folder), sentencepiece.SentencePieceProcessor(model_proto=data)


def _score(model: sentencepiece.SentencePieceProcessor, ids: list[int]) -> float:
    return sum(model.get_score(index) for index in ids)


@needs_data
@pytest.mark.parametrize("size", SIZES)
def test_unigram_is_sentencepieces(tmp_path: Path, size: int) -> None:
    """But for ties: of two cuts with one score SentencePiece takes the one that its 32-bit sums, which carry what
    stands before, happen to put first; the ``tokenizers`` library, which transformers has too, sums each word in 64."""
    texts = mixed_text(size)
    ours, theirs = _trained(
        tmp_path, mixed_text(QUICK)[:400], model_type="unigram", vocab_size=3000, character_coverage=0.99
    )
    wrong = _differences(texts, ours, theirs.encode)
    assert len(wrong) <= len(texts) / 1000
    for _, mine, other in wrong:
        assert _score(theirs, mine) == pytest.approx(_score(theirs, other), rel=1e-6)


SENTENCES = [
    "the cat sat on the mat, and the dog   did not.",
    "print('hello world')  # a comment with ÄÖÜ and ﬁ",
    "1 + 1 = 2; naïve café",
    "한국어 텍스트 漢字 かな",
]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_every_normalization_of_sentencepiece(tmp_path: Path, name: str, kind: str) -> None:
    ours, theirs = _trained(tmp_path, SENTENCES * 20, model_type=kind, vocab_size=120 + 256, **OPTIONS[name])
    texts = [
        *SENTENCES,
        *("", " ", "   ", "\t\n", "▁", "a▁", " ▁ a ", "  leading", "trailing  ", "a  b"),
        *("<s>the</s><unk>", "<0x41>the <0x0A>", "the<sep>cat", "the <sep> cat<cls>", "<sep>  <sep>", "<sepp>"),
        *("e\u0301 \u1112\u1161\u11ab か\u3099 \u0915\u093c", "ＡＢＣ ﬁ ﷺ ㌀", "\u00ad\u200b\ufeff\u0000\u0007x"),
        *islice(unicode_lines(1), 500),
    ]
    assert _differences(texts, ours, theirs.encode) == []
    assert [ours.decode(ours.encode(text)) for text in SENTENCES[:1]] == theirs.decode(theirs.encode(SENTENCES[:1]))


def test_a_unigram_models_decomposed_korean_is_composed_as_sentencepiece_does(tmp_path: Path) -> None:
    """The library's own reading of the table leaves it decomposed: this is the one difference to transformers."""
    from transformers import AutoTokenizer

    ours, theirs = _trained(tmp_path, SENTENCES * 20, model_type="unigram", vocab_size=110)
    ours.save(tmp_path)
    saved = AutoTokenizer.from_pretrained(str(tmp_path))
    text = "\u1112\u1161\u11ab\u1100\u116e\u11a8"  # 한국 in its parts
    assert ours.encode(text) == theirs.encode(text) == theirs.encode("한국") == saved.encode("한국")
    assert saved.encode(text) != theirs.encode(text)


def test_what_is_spelled_like_a_special_token_stays_text(tmp_path: Path) -> None:
    for kind in ("bpe", "unigram"):
        ours, _ = _trained(tmp_path, ["<s> </s> <unk> s </ un"] * 9, model_type=kind, vocab_size=24)
        ids = ours.encode("a <s> b </s> c <unk>")
        assert not set(ids) & {ours.bos_id, ours.end_id}
