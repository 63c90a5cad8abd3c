"""Hostile and malformed tokenizers: refused with a reason, by form or by trial, and never run in this process."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from tokenizer_cases import NAMES, gguf_metadata, needs_data

from seedbed.core.errors import CapacityError, CorruptError, DataError, UsageError
from seedbed.formats.gguf.tokenizer import tokenizer_from_gguf
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.inference.span_decoding import Marker
from seedbed.tokenizers import bounds
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.trial import open_file

VOCABULARY = {"<unk>": 0, **{chr(code): code - 31 for code in range(32, 127)}}
BPE = {"type": "BPE", "unk_token": "<unk>", "vocab": VOCABULARY, "merges": []}
WORD = {"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 10**9}
EOS = {"eos_token": "<unk>"}


def table(**entries: Any) -> str:
    """A ``tokenizer.json`` of single characters, with entries of its own."""
    parts = dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return json.dumps({"version": "1.0", "added_tokens": [], **parts, "model": BPE, **entries})


def replace(pattern: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "normalizers": list(steps)}


def split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def folder(path: Path, text: str, config: Any = EOS) -> Path:
    (path / "tokenizer.json").write_text(text)
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


CHAIN = sequence(*(replace(chr(97 + at), chr(98 + at) * 1000) for at in range(5)))


@pytest.mark.parametrize(
    "normalizer",
    [
        CHAIN,
        sequence(sequence(*CHAIN["normalizers"][:2]), sequence(*CHAIN["normalizers"][2:])),
        sequence(*(replace("a+", "a" * 200, "Regex") for _ in range(3))),
        sequence(*(step for _ in range(6) for step in (replace("i", "ﷺ"), {"type": "NFKD"}, replace(" ", "i")))),
        sequence({"type": "Prepend", "prepend": "a" * 5000}, replace("a", "b" * 1000)),
        sequence(replace("", "a" * 100), replace("a", "b" * 100)),
    ],
    ids=["chained", "in sequences", "expressions", "compatibility forms", "before a text", "between characters"],
)
def test_normalizers_that_expand_are_refused_when_loaded(normalizer: dict[str, Any]) -> None:
    started = time.monotonic()
    with pytest.raises(CorruptError, match="is not a tokenizer") as refused:
        Tokenizer.from_json(table(normalizer=normalizer), EOS)
    assert "its normalizer" in refused.value.why
    assert "may be" in refused.value.why
    assert time.monotonic() - started < 1


def spelled(times: int) -> Tokenizer:
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return Tokenizer.from_json(table(pre_tokenizer={"type": "Sequence", "pretokenizers": [byte_level] * times}), EOS)


def test_bytes_spelled_again_and_again_are_refused_when_loaded() -> None:
    assert spelled(1).encode("a") == spelled(2).encode("a") == [VOCABULARY["a"]]
    with pytest.raises(CorruptError, match="is not a tokenizer"):
        spelled(50)


def test_normalizers_of_published_tokenizers_are_within_the_bound() -> None:
    charsmap = bytes(4) + "ﷺ".encode() * 6
    import base64

    steps = [replace("``", '"'), replace("''", '"'), {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]
    albert = [*steps, {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(charsmap).decode()}]
    bert = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}
    for normalizer in (sequence(*albert, replace(" {2,}", " ", "Regex")), {"type": "BertNormalizer", **bert}):
        bounds.check_table(json.loads(table(normalizer=normalizer)))


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ({"model": {**WORD, "vocab": {"<unk>": 0, "a": 1, "##a": 2}}}, "words of 1000000000"),
        ({"model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a" * 1001, -1.0]]}}, "1001 characters"),
        ({"model": {**BPE, "vocab": {"<unk>": 0, "a": 4_294_967_295}}}, "ids go from 0 to 4294967295"),
        ({"model": {**BPE, "vocab": {"<unk>": 0, "a": 2**40}}}, "ids go from"),
        ({"model": {**BPE, "vocab": {"<unk>": 0, "a": -1}}}, "ids go from -1"),
        ({"model": {**BPE, "vocab": {"<unk>": "a"}}}, "has no number"),
        ({"model": {**BPE, "vocab": 7}}, "no vocab"),
        ({"model": []}, "no table with a model"),
        ({"model": {}}, "no type"),
        ({"added_tokens": [{"content": "<a>", "special": True}]}, "needs an id"),
        ({"added_tokens": [{"id": 1, "special": True}]}, "has no content"),
        ({"added_tokens": [{"id": 2**31, "content": "<a>", "special": True}]}, "ids go from"),
        ({"added_tokens": {"id": 1}}, "no list"),
        ({"normalizer": {"normalizers": []}}, "no type"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": 3}}, "no steps"),
        ({"decoder": "ByteLevel"}, "no table"),
        (
            {
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [{"SpecialToken": {"id": "x", "type_id": 0}}] * 1001,
                }
            },
            "1001 tokens around",
        ),
    ],
)
def test_tables_of_another_form_or_size_are_refused(tmp_path: Path, entries: dict[str, Any], why: str) -> None:
    for opened in (Tokenizer.from_file, open_tokenizer, open_file):
        with pytest.raises(CorruptError) as refused:
            opened(folder(tmp_path, table(**entries)))
        assert why in refused.value.why


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ([1], "a list, not a table"),
        ({**EOS, "chat_template": [{"template": "a"}]}, "no name or no text"),
        ({**EOS, "chat_template": ["a"]}, "no name or no text"),
        ({**EOS, "added_tokens_decoder": {"a": {"content": "b"}}}, "invalid literal"),
        ({**EOS, "added_tokens_decoder": {str(2**40): {"content": "<b>"}}}, "ids go from"),
        ({**EOS, "added_tokens_decoder": {"96": "<b>"}}, "wrong kind"),
        ({**EOS, "added_tokens_decoder": 5}, "wrong kind"),
    ],
)
def test_configurations_of_another_form_are_refused(tmp_path: Path, config: Any, why: str) -> None:
    with pytest.raises(CorruptError) as refused:
        open_tokenizer(folder(tmp_path, table(), config))
    assert why in refused.value.why


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_deep_and_huge_files_are_refused(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path, table())
    (tmp_path / name).write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    for opened in (Tokenizer.from_file, open_tokenizer):
        with pytest.raises(CorruptError, match="is not a tokenizer"):
            opened(tmp_path)
    with (tmp_path / name).open("wb") as file:
        file.truncate(5_000_000_000)
    with pytest.raises(CorruptError, match="is not a tokenizer") as refused:
        open_tokenizer(tmp_path)
    assert "are read" in refused.value.why


@pytest.mark.parametrize(
    ("entries", "kind", "why"),
    [
        ({"pre_tokenizer": split("(a+)+$")}, CorruptError, "retry-limit"),
        ({"pre_tokenizer": split("(?:b|bb)+(?=c)")}, CorruptError, "retry-limit"),
        ({"normalizer": replace("(x+x+)+y", "z", "Regex")}, CorruptError, "retry-limit"),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, CorruptError, "non-zero"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, CorruptError, "charsmap"),
        ({"normalizer": replace("a", "b" * 1400)}, CapacityError, "memory"),
        ({"model": {**WORD, "unk_token": "no", "max_input_chars_per_word": 9, "vocab": {"<unk>": 0}}},
         CorruptError, "UNK"),
    ],
)  # fmt: skip
def test_what_a_table_does_not_tell_is_found_by_a_trial(
    tmp_path: Path, entries: dict[str, Any], kind: type[Exception], why: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(kind) as refused:
        open_tokenizer(folder(tmp_path, table(**entries)))
    assert why in refused.value.why  # type: ignore[attr-defined]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


def test_a_template_that_never_ends_is_refused_and_one_that_refuses_is_not(tmp_path: Path) -> None:
    wide = "{{ 'a'.center(3000000000) }}"
    with pytest.raises(UsageError, match="cannot be rendered"):
        open_tokenizer(folder(tmp_path, table(), {**EOS, "chat_template": wide}))
    with pytest.raises(UsageError, match="cannot be rendered"):
        open_tokenizer(folder(tmp_path, table(), {**EOS, "chat_template": [{"name": "tool", "template": wide}]}))
    refusing = {**EOS, "chat_template": "{{ raise_exception('never') }}"}
    assert open_tokenizer(folder(tmp_path, table(), refusing)).has_template


@pytest.mark.parametrize("text", ["a" * 40 + "b", "\ud800"])
def test_a_text_that_a_tokenizer_fails_at_is_bad_data(text: str) -> None:
    tokenizer = Tokenizer.from_json(table(pre_tokenizer=split("(a+)+$")), EOS)
    for encode in (tokenizer.encode, Marker(tokenizer, 99).whole):
        with pytest.raises(DataError, match="cannot be encoded") as refused:
            encode(text)
        assert ("surrogate" in refused.value.why) == (text == "\ud800")
    assert tokenizer.encode("ab") == [VOCABULARY["a"], VOCABULARY["b"]]


@needs_data
@pytest.mark.parametrize("name", NAMES)
def test_published_tokenizers_pass_their_trial(name: str) -> None:
    assert tokenizer_from_gguf(gguf_metadata(name)).vocab_size > 1000


def test_a_gguf_vocabulary_is_tried_too() -> None:
    metadata = {"tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "a" * 1_000_000]}
    for change in ({}, {"tokenizer.ggml.token_type": "types"}, {"tokenizer.ggml.tokens": 5}):
        with pytest.raises(CorruptError, match="is not a tokenizer"):
            tokenizer_from_gguf({**metadata, **change})


def test_runs_of_spaces_take_time_by_their_length(tmp_path: Path) -> None:
    """SentencePiece's ``▁+\\z`` as an expression looks from each "▁" of a run to its end: minutes for this text."""
    steps = [{"type": "Prepend", "prepend": "▁"}, replace("▁+\\z", "", "Regex")]
    tokenizer = Tokenizer.from_json(table(normalizer=sequence(*steps)), EOS)
    assert tokenizer.encode("▁a▁▁") == tokenizer.encode("▁a")
    started = time.monotonic()
    tokenizer.encode("▁" * 200_000 + "a")
    assert time.monotonic() - started < 5
