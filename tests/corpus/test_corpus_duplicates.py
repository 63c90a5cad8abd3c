"""MinHash against exact Jaccard, LSH clusters against brute force."""

from __future__ import annotations

import random
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from datasketch import MinHashLSH

from seedbed.corpus.duplicates import (
    NearIndex,
    SignatureWriter,
    UnionFind,
    meetings,
    near_clusters,
    remove_near,
    repeated,
)
from seedbed.corpus.minhash import PERMUTATIONS, RECALL, Bands, bands_for, shingles, signature

VOCABULARY = [f"word{number}" for number in range(2000)]


def text_of(words: int, seed: int) -> list[str]:
    return random.Random(seed).choices(VOCABULARY, k=words)


def changed(words: list[str], share: float, seed: int) -> list[str]:
    generator = random.Random(seed)
    return [generator.choice(VOCABULARY) if generator.random() < share else word for word in words]


def jaccard(one: str, other: str) -> float:
    """By definition, over sets of five-word tuples."""
    first, second = (
        {tuple(words[at : at + 5]) for at in range(len(words) - 4)}
        for words in (re.findall(r"\w+", text.lower()) for text in (one, other))
    )
    return len(first & second) / len(first | second)


def test_estimates_follow_the_exact_similarity() -> None:
    errors = []
    for seed, share in enumerate([0.0, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 1.0] * 12):
        words = text_of(400, seed)
        one, other = " ".join(words), " ".join(changed(words, share, seed + 1000))
        estimate = float((signature(shingles(one)) == signature(shingles(other))).mean())
        errors.append(estimate - jaccard(one, other))
    assert np.abs(errors).max() < 4 * 0.5 / PERMUTATIONS**0.5
    assert abs(np.mean(errors)) < 3 * 0.5 / (PERMUTATIONS * len(errors)) ** 0.5


def test_shingles_count_as_the_definition_does() -> None:
    text = " ".join(text_of(300, 3))
    words = text.split()
    assert len(shingles(text)) == len({tuple(words[at : at + 5]) for at in range(296)})
    assert np.array_equal(shingles("One, two; THREE four five"), shingles("one two three four five!"))
    assert len(shingles("two words")) == 1
    assert len(shingles("")) == 1


def test_long_texts_are_hashed_in_blocks_without_a_seam() -> None:
    words = text_of(5000, 9)
    joined = np.minimum(signature(shingles(" ".join(words[:2504]))), signature(shingles(" ".join(words[2500:]))))
    assert np.array_equal(signature(shingles(" ".join(words))), joined)


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9])
def test_bands_find_pairs_at_the_threshold(threshold: float) -> None:
    bands = bands_for(threshold)
    assert bands.count * bands.rows <= PERMUTATIONS
    assert bands.recall(threshold) >= RECALL
    assert Bands(PERMUTATIONS // (bands.rows + 1), bands.rows + 1).recall(threshold) < RECALL


def index_of(texts: list[str], folder: Path, threshold: float = 0.8) -> NearIndex:
    with SignatureWriter(folder, threshold) as writer:
        for start in range(0, len(texts), 50):
            writer.add(np.stack([signature(shingles(text)) for text in texts[start : start + 50]]))
    return writer.index


def family(seed: int) -> list[str]:
    """Texts with near-duplicates from very close to clearly different."""
    texts = []
    for base in range(40):
        words = text_of(150, seed * 1000 + base)
        texts.append(" ".join(words))
        texts += [" ".join(changed(words, share, base)) for share in (0.005, 0.02, 0.05, 0.2)[: base % 5]]
    random.Random(seed).shuffle(texts)
    return texts


def brute_force(texts: list[str], threshold: float) -> list[int]:
    """Clusters from every pair of signatures, joined by repeated relabelling."""
    signatures = [signature(shingles(text)) for text in texts]
    labels = list(range(len(texts)))
    for one, other in combinations(range(len(texts)), 2):
        if (signatures[one] == signatures[other]).mean() >= threshold:
            low, high = sorted((labels[one], labels[other]))
            labels = [low if label == high else label for label in labels]
    return labels


def test_clusters_are_those_of_comparing_everything(tmp_path: Path) -> None:
    texts = family(1)
    index = index_of(texts, tmp_path)
    expected = brute_force(texts, 0.8)
    assert len(set(expected)) < len(texts) - 20
    everything = np.ones(len(texts), dtype=bool)
    assert near_clusters(index, everything).tolist() == expected
    assert np.flatnonzero(remove_near(index, everything)).tolist() == sorted(set(expected))


def test_pairs_agree_with_datasketch_banding(tmp_path: Path) -> None:
    """Our signatures under another library's LSH: the same candidates in the same bands."""
    texts = family(2)
    index = index_of(texts, tmp_path)
    bands = index.bands
    peer = MinHashLSH(num_perm=PERMUTATIONS, params=(bands.count, bands.rows))
    signatures = [signature(shingles(text)) for text in texts]
    for number, values in enumerate(signatures):
        peer.insert(number, _AsMinHash(values))
    theirs = {
        (min(number, int(other)), max(number, int(other)))
        for number, values in enumerate(signatures)
        for other in peer.query(_AsMinHash(values))
        if other != number and (values == signatures[int(other)]).mean() >= 0.8
    }
    ours = {tuple(pair) for block in index.near_pairs(np.ones(len(texts), dtype=bool)) for pair in block.tolist()}
    assert ours == theirs


class _AsMinHash:
    """The face of datasketch.MinHash over values that are already there."""

    def __init__(self, values: np.ndarray) -> None:
        self.hashvalues, self.seed = values.astype(np.uint64), 1

    def __len__(self) -> int:
        return len(self.hashvalues)


def test_long_runs_of_the_same_text_leave_one(tmp_path: Path) -> None:
    """Five hundred near-copies share all keys: far more than the neighbours that are compared."""
    words = text_of(200, 4)
    texts = [" ".join([*words, f"tail{number}"]) for number in range(500)]
    index = index_of(texts, tmp_path)
    assert np.flatnonzero(remove_near(index, np.ones(500, dtype=bool))).tolist() == [0]
    absent = np.ones(500, dtype=bool)
    absent[:3] = False
    assert np.flatnonzero(remove_near(index, absent)).tolist() == [3]


def test_in_a_long_run_of_equal_keys_everyone_meets_neighbours_and_the_first() -> None:
    keys = np.repeat(np.array([3, 5, 9], dtype=np.uint64), [2, 40, 1])
    met = {(int(a), int(b)) for left, right in meetings(keys, 32) for a, b in zip(left, right, strict=True)}
    run = [(one, other) for one, other in combinations(range(2, 42), 2) if other - one <= 32 or one == 2]
    assert met == {(0, 1), *run}


def test_repeated_keeps_the_first() -> None:
    hashes = np.array([5, 7, 5, 9, 7, 7], dtype=np.uint64)
    assert repeated(hashes).tolist() == [False, False, True, False, True, True]


def test_union_find_against_connected_components() -> None:
    generator = random.Random(5)
    sets, neighbours = UnionFind(200), {item: {item} for item in range(200)}
    for _ in range(150):
        one, other = generator.randrange(200), generator.randrange(200)
        sets.join(one, other)
        neighbours[one].add(other)
        neighbours[other].add(one)
    labels = {}
    for item in range(200):
        reached, frontier = {item}, [item]
        while frontier:
            found = neighbours[frontier.pop()] - reached
            reached |= found
            frontier += found
        labels[item] = min(reached)
    assert sets.representatives().tolist() == [labels[item] for item in range(200)]
