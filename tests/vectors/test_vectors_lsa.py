"""Latent semantic analysis against numpy's decomposition and scikit-learn's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from dense_rows import dense

from seedbed.core.errors import CorruptError
from seedbed.vectors.lsa import Latent

TEXTS = [
    "Cats chase mice; a cat sleeps.",
    "Dogs chase cats.",
    "Mice eat cheese.",
    "The cheese is old, the cheese is good.",
    "Ships sail on the sea.",
    "A sailor ships cheese over the sea.",
]
RAW = [
    "Cat, dog & bird: the cat!", "A dog; a DOG sat.", "Bird sat (on) the old roof", "Ship on the sea -- old ship",
    "The sea, the sea, the sun.", "Sun on the roof; cat on the roof", "Old dog, new ship?", "Bread and sun and wind.",
    "Wind on the sea\nwind", "New bread, old bread",
]  # fmt: skip


def test_the_axes_are_the_strongest_singular_vectors() -> None:
    """The space they span, which is what cosines depend on."""
    chance = np.random.default_rng(0)
    vocabulary = ["".join(chance.choice(list("bcdfghjk"), 5)) for _ in range(60)]
    topics = [chance.choice(vocabulary, 15) for _ in range(4)]
    texts = [" ".join(chance.choice(topics[place % 4], 30)) for place in range(80)]
    fitted = Latent.fit(texts, size=4)
    matrix = dense(fitted.tfidf.weights(texts), len(fitted.tfidf.terms))
    *_, expected = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    overlap = np.linalg.svd(expected[:4] @ fitted.axes)[1]
    assert overlap == pytest.approx(np.ones(4), abs=2e-3)
    projected = matrix @ expected[:4].T
    projected /= np.linalg.norm(projected, axis=1, keepdims=True)
    made = fitted.embed_documents(texts)
    np.testing.assert_allclose(made @ made.T, projected @ projected.T, atol=5e-3)


def test_with_every_axis_cosines_are_those_of_the_weights() -> None:
    fitted = Latent.fit(TEXTS, size=64)
    assert fitted.size == 64
    weights = dense(fitted.tfidf.weights(TEXTS), len(fitted.tfidf.terms))
    made = fitted.embed_documents(TEXTS)
    np.testing.assert_allclose(made @ made.T, weights @ weights.T, atol=2e-3)


def test_texts_are_near_without_a_word_in_common() -> None:
    """The classic of Deerwester et al.: what stands beside the same words is alike."""
    texts = [
        "car engine wheel",
        "automobile engine wheel",
        "car road",
        "automobile road",
        "apple tree",
        "pear tree",
        "apple pie",
        "pear pie",
    ]
    fitted = Latent.fit(texts * 3, size=2)
    car, automobile, apple = fitted.embed_documents(["car", "automobile", "apple"])
    assert car @ automobile > 0.9
    assert abs(car @ apple) < 0.1


def test_texts_without_known_words_are_zeros() -> None:
    fitted = Latent.fit(TEXTS)
    assert not fitted.embed_documents(["qwertz", "", "cat"])[:2].any()
    assert np.linalg.norm(fitted.embed_query("a cat")) == pytest.approx(1)
    assert fitted.embed_documents([]).shape == (0, fitted.size)


@pytest.mark.parametrize("texts", [[], [""], ["", "?!"], ["one"]])
def test_few_texts_are_fine(texts: list[str]) -> None:
    fitted = Latent.fit(texts)
    assert fitted.embed_documents(["one two"]).shape == (1, fitted.size)
    assert Latent.from_bytes(fitted.to_bytes()).tfidf.terms == fitted.tfidf.terms


def test_what_was_learnt_comes_back() -> None:
    fitted = Latent.fit(TEXTS, texts=99, last_row=7)
    again = Latent.from_bytes(fitted.to_bytes())
    assert (again.name, again.size, again.texts, again.last_row) == (fitted.name, fitted.size, 99, 7)
    assert (again.embed_documents(TEXTS) == fitted.embed_documents(TEXTS)).all()
    assert Latent.fit([*TEXTS, "more of it"]).name != fitted.name


def test_the_same_texts_give_the_same_vectors_in_another_process() -> None:
    script = f"from seedbed.vectors.lsa import Latent; print(Latent.fit({TEXTS!r} * 9).name)"
    torch.manual_seed(99)
    before = torch.random.get_rng_state()
    name = Latent.fit(TEXTS * 9).name
    assert (torch.random.get_rng_state() == before).all()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == name


@pytest.mark.parametrize("data", [b"", b"nonsense", b"PK\x03\x04 broken"])
def test_something_else_is_called_damaged(data: bytes) -> None:
    with pytest.raises(CorruptError, match="TF-IDF"):
        Latent.from_bytes(data)


def test_cosines_of_raw_text_are_those_of_scikit_learn() -> None:
    """TF-IDF, truncated singular value decomposition and length 1, all by scikit-learn, from the text as it is."""
    pytest.importorskip("sklearn")
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    weights = TfidfVectorizer(token_pattern=r"[^\W_]+", sublinear_tf=True)
    oracle = make_pipeline(weights, TruncatedSVD(4, algorithm="arpack", random_state=0), Normalizer())
    expected = oracle.fit_transform(RAW)
    made = Latent.fit(RAW, size=4).embed_documents(RAW)
    np.testing.assert_allclose(made @ made.T, expected @ expected.T, atol=2e-3)
