"""Training: sizes, special tokens, determinism, samples, and refusals that name what is possible."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.core.errors import DataError, UsageError
from seedbed.tokenizers.sample import chunks, spread_sample
from seedbed.tokenizers.settings import Kind, TokenizerSettings
from seedbed.tokenizers.special import SPECIAL_TOKENS
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer

LEARNED = ("bpe", "unigram", "wordpiece", "word")


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "word", "char", "byte"])
def test_special_tokens_come_first_in_every_kind(trained: dict[str, Tokenizer], kind: str) -> None:
    tokenizer = trained[kind]
    assert tokenizer.pieces(range(6)) == list(SPECIAL_TOKENS)
    assert (tokenizer.bos_id, tokenizer.end_id, tokenizer.pad_id) == (0, 1, 2)
    lacking = {tokenizer.unk_id} - {None}
    assert tokenizer.special_ids == {*range(6), *lacking}
    assert lacking == ({6} if kind in ("wordpiece", "word", "char") else set())


@pytest.mark.parametrize("kind", LEARNED)
def test_the_vocabulary_has_the_size_asked_for(trained: dict[str, Tokenizer], kind: str) -> None:
    assert trained[kind].vocab_size == 800


def test_sizes_that_follow_from_the_text(trained: dict[str, Tokenizer], texts: list[str]) -> None:
    assert trained["byte"].vocab_size == 6 + 256
    assert trained["char"].vocab_size == 7 + len(set("".join(texts)))


def test_byte_ids_are_the_bytes(trained: dict[str, Tokenizer]) -> None:
    text = "naïve 漢字\n\x00"
    assert trained["byte"].encode(text) == [6 + byte for byte in text.encode()]


def test_the_first_merge_is_the_most_frequent_pair() -> None:
    text = "".join(f"{letter}xy " for letter in "abcdefgh") * 3
    tokenizer = train_tokenizer([text], TokenizerSettings(vocab_size=6 + 256 + 1))
    assert tokenizer.pieces([262]) == ["xy"]


def test_word_keeps_the_most_frequent_words() -> None:
    words = ["ox"] * 9 + ["cow"] * 7 + ["hen"] * 5 + ["emu"] * 3
    tokenizer = train_tokenizer(["\n".join(words)], TokenizerSettings(kind="word", vocab_size=7 + 4))
    assert Counter(tokenizer.pieces(range(7, 11))) == Counter(["\n", "ox", "cow", "hen"])
    assert tokenizer.encode("emu") == [tokenizer.unk_id]


def test_digits_stand_alone_and_indentation_together(bpe: Tokenizer) -> None:
    assert [piece for piece in bpe.pieces(bpe.encode("x = 12345")) if piece.isdigit()] == list("12345")
    assert bpe.pieces(bpe.encode("\n        return"))[:2] == ["\n", " " * 7]


@pytest.mark.parametrize("kind", LEARNED)
def test_the_same_text_gives_the_same_hash_in_another_process(
    trained: dict[str, Tokenizer], texts: list[str], tmp_path: Path, kind: str
) -> None:
    for position, text in enumerate(texts):
        (tmp_path / f"{position}.txt").write_text(text, encoding="utf-8")
    program = (
        "import sys, pathlib; from seedbed.tokenizers.train import *; "
        "texts = [p.read_text(encoding='utf-8') for p in sorted(pathlib.Path(sys.argv[1]).iterdir())]; "
        "print(train_tokenizer(texts, TokenizerSettings(kind=sys.argv[2], vocab_size=800)).hash)"
    )
    again = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), kind], capture_output=True, text=True, check=True
    )
    assert again.stdout.strip() == trained[kind].hash


def test_another_text_gives_another_hash(bpe: Tokenizer, texts: list[str]) -> None:
    assert train_tokenizer(texts[1:], TokenizerSettings(vocab_size=800)).hash != bpe.hash


@pytest.mark.parametrize("kind", LEARNED)
def test_a_vocabulary_larger_than_the_text_supports_names_the_possible_size(kind: str) -> None:
    text = "the cat sat on the mat and the dog sat on the log " * 4
    with pytest.raises(DataError, match="larger than the text supports") as refused:
        train_tokenizer([text], TokenizerSettings(kind=kind, vocab_size=5000))
    possible = int(re.search(r"at most (\d+) pieces", refused.value.fix).group(1))
    assert train_tokenizer([text], TokenizerSettings(kind=kind, vocab_size=possible)).vocab_size == possible


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece"])
def test_a_vocabulary_too_small_for_its_alphabet_names_the_least_size(texts: list[str], kind: str) -> None:
    with pytest.raises(UsageError, match="too small") as refused:
        train_tokenizer(texts, TokenizerSettings(kind=kind, vocab_size=20))
    least = int(re.search(r"at least (\d+) pieces", refused.value.fix).group(1))
    assert train_tokenizer(texts, TokenizerSettings(kind=kind, vocab_size=least)).vocab_size == least


@pytest.mark.parametrize("kind", ["bpe", "unigram", "wordpiece", "word", "char"])
@pytest.mark.parametrize("nothing", [[], ["", ""]])
def test_no_text_is_refused(kind: str, nothing: list[str]) -> None:
    with pytest.raises(DataError, match="no text"):
        train_tokenizer(nothing, TokenizerSettings(kind=kind))


@given(st.lists(st.text(alphabet="ab \n", max_size=60)), st.integers(1, 20))
def test_chunks_lose_nothing_and_stay_small(parts: list[str], size: int) -> None:
    found = list(chunks(parts, size))
    assert "".join(found) == "".join(parts)
    assert all(0 < len(chunk) <= size for chunk in found)


@settings(max_examples=50)
@given(st.integers(1, 400), st.integers(100, 2000))
def test_a_sample_is_evenly_spread_within_its_budget(count: int, budget: int) -> None:
    pieces = [f"{number:010d}" for number in range(count)]
    kept = [int(piece) for piece in spread_sample(pieces, budget)]
    steps = {later - earlier for earlier, later in pairwise(kept)}
    assert len(kept) * 10 <= budget
    assert len(steps) <= 1
    assert count * 10 <= budget or len(kept) * 10 > budget // 2 - 20


def test_no_budget_keeps_everything() -> None:
    assert list(spread_sample(["a", "b", "c"], 0)) == ["a", "b", "c"]


def test_a_budget_limits_what_training_reads() -> None:
    """A word that stands only in the middle of a text is not met by a sample of the first chunk alone."""
    text = "plain words only\n" * 4000 + "peculiarity " * 50 + "\nplain words only" * 4000
    small = TokenizerSettings(kind="word", vocab_size=7 + 4, max_bytes=20_000, min_frequency=1)
    whole = TokenizerSettings(kind="word", vocab_size=7 + 6, max_bytes=0, min_frequency=1)
    assert train_tokenizer([text], small).encode(" peculiarity") == [6]
    assert train_tokenizer([text], whole).encode(" peculiarity") != [6]


@pytest.mark.slow
@pytest.mark.parametrize("kind", LEARNED)
def test_training_is_deterministic_on_megabytes(kind: str) -> None:
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(stdlib.glob("*.py"))]
    hashes = {train_tokenizer(texts, TokenizerSettings(kind=kind)).hash for _ in range(3)}
    assert len(hashes) == 1


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_mask_and_sentinels_follow_the_vocabulary(texts: list[str], kind: Kind) -> None:
    plain = train_tokenizer(texts, TokenizerSettings(kind=kind, vocab_size=800))
    more = train_tokenizer(texts, TokenizerSettings(kind=kind, vocab_size=800, mask=True, sentinels=3))
    named = ["<|mask|>", "<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]
    assert [more.vocabulary[name] for name in named] == list(range(plain.vocab_size, plain.vocab_size + 4))
    assert more.names["mask_token"] == "<|mask|>"
    assert "mask_token" not in plain.names
    assert more.encode(texts[0]) == plain.encode(texts[0])
    assert set(more.encode(" ".join(named))) & {more.vocabulary[name] for name in named} == set()
