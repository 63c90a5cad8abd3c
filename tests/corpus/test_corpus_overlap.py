"""Containment against its definition, and what it decides in whole corpora."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from seedbed.core.artifacts import Library
from seedbed.corpus.build import build_corpus
from seedbed.corpus.comparison import Comparison, ComparisonWriter
from seedbed.corpus.document import SPLITS
from seedbed.corpus.minhash import shingles, signature
from seedbed.corpus.overlap import (
    LEAST_SHARE,
    LEAST_SHARED,
    REACH,
    SAMPLED,
    OverlapIndex,
    remove_contained,
    sample,
)
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.store import Corpus

VOCABULARY = [f"word{number}" for number in range(3000)]


def text_of(count: int, seed: int) -> list[str]:
    return random.Random(seed).choices(VOCABULARY, k=count)


def changed(words: list[str], share: float, seed: int) -> list[str]:
    chance = random.Random(seed)
    return [chance.choice(VOCABULARY) if chance.random() < share else word for word in words]


def compared(texts: list[str], folder: Path, threshold: float = 0.8) -> Comparison:
    with ComparisonWriter(folder, threshold) as writer:
        for start in range(0, len(texts), 7):
            hashed = [shingles(text) for text in texts[start : start + 7]]
            writer.add(np.stack([signature(one) for one in hashed]), sample(hashed))
    return writer.comparison


def containment(inner: str, outer: str) -> tuple[int, float, float]:
    """Sampled shingles in common, their share, and the share of words near one: by the definition, word by word."""
    mine, theirs = shingles(inner).tolist(), set(shingles(outer).tolist())
    sampled = [place for place, value in enumerate(mine) if value % SAMPLED == 0]
    shared = [place for place in sampled if mine[place] in theirs]
    length = len(inner.split())
    near = {word for place in shared for word in range(place - REACH, place + 5 + REACH) if 0 <= word < length}
    return len(shared), len(shared) / max(1, len(sampled)), len(near) / length


def test_pairs_are_those_of_the_definition(tmp_path: Path) -> None:
    texts: list[str] = []
    for seed in range(25):
        words = text_of(random.Random(seed).randrange(80, 400), seed)
        cut = words[: len(words) // 2]
        others = [changed(words, share, seed) for share in (0.1, 0.25)] + [cut, cut + text_of(len(words) // 3, -seed)]
        texts += [" ".join(one) for one in [words, *others]]
    lengths = [len(text.split()) for text in texts]
    expected = set()
    for one in range(len(texts)):
        for other in range(len(texts)):
            if (lengths[one], other) < (lengths[other], one) and one != other:
                number, share, covered = containment(texts[one], texts[other])
                if number >= LEAST_SHARED and share >= LEAST_SHARE and covered >= 0.8:
                    expected.add((one, other))
    found = compared(texts, tmp_path).overlap.contained(np.ones(len(texts), dtype=bool))
    assert {(inner, outer) for inner, outer in found.tolist()} == expected
    assert len(expected) > 40


def kept_of(index: OverlapIndex, count: int) -> list[int]:
    return np.flatnonzero(remove_contained(index, np.ones(count, dtype=bool))).tolist()


def test_a_document_goes_only_for_one_that_stays(tmp_path: Path) -> None:
    """The middle one stands in the long one, the short one in the middle one's other part alone."""
    long, own = text_of(400, 1), text_of(100, 2)
    middle = long[:360] + own[:80]
    short = own[:80]
    texts = [" ".join(one) for one in (short, middle, long + text_of(300, 3))]
    assert kept_of(compared(texts, tmp_path).overlap, 3) == [0, 2]


def test_a_document_that_quotes_two_is_kept(tmp_path: Path) -> None:
    one, other = text_of(300, 1), text_of(300, 2)
    texts = [" ".join(words) for words in (one, other, one[:120] + text_of(100, 3) + other[:120])]
    assert kept_of(compared(texts, tmp_path).overlap, 3) == [0, 1, 2]


def test_a_hundred_edited_copies_leave_one(tmp_path: Path) -> None:
    words = text_of(300, 1)
    texts = [" ".join(changed(words, 0.04, seed)) for seed in range(100)]
    assert kept_of(compared(texts, tmp_path).overlap, 100) == [0]


def test_short_documents_are_not_compared(tmp_path: Path) -> None:
    texts = [" ".join(text_of(20, 1)), " ".join(text_of(20, 1) + text_of(300, 2)), "", "one two"]
    assert kept_of(compared(texts, tmp_path).overlap, 4) == [0, 1, 2, 3]


@pytest.mark.parametrize("action", ["remove", "keep"])
def test_edited_copies_and_excerpts_never_stand_on_both_sides(tmp_path: Path, action: str) -> None:
    source = tmp_path / "texts"
    source.mkdir()
    for number in range(40):
        words = text_of(400, number)
        for name, some in (("", words), ("edited", changed(words, 0.08, number)), ("part", words[50:200])):
            (source / f"{number:02}{name}.txt").write_text(" ".join(some))
    settings = CorpusSettings(
        sources=(SourceSettings("texts", str(source)),),
        near_duplicate_action=action,  # type: ignore[arg-type]
    )
    corpus = Corpus.open(build_corpus(settings, Library(tmp_path / "home")))
    sides: dict[str, set[str]] = {}
    for split in SPLITS:
        for document in corpus.documents(split):
            sides.setdefault(document.path[:2], set()).add(split)
    assert all(len(one) == 1 for one in sides.values())
    assert {split for one in sides.values() for split in one} == set(SPLITS)
    documents = sum(1 for split in SPLITS for _ in corpus.documents(split))
    assert documents == (40 if action == "remove" else 120)
    assert corpus.report["repairs"].get("documents that stood in another removed", 0) == (
        80 if action == "remove" else 0
    )
    assert corpus.report["leak_check"]["near"] == 0
