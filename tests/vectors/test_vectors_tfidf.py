"""TF-IDF against its formula and scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dense_rows import dense

from seedbed.vectors.lsa import Tfidf
from seedbed.vectors.words import Stemmer, stem_counts, words

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


def test_weights_are_those_of_the_formula() -> None:
    fitted = Tfidf.fit(TEXTS)
    found = dense(fitted.weights(TEXTS), len(fitted.terms))
    for row, count in zip(found, stem_counts(TEXTS), strict=True):
        holding = {term: sum(term in one for one in stem_counts(TEXTS)) for term in count}
        weights = {
            term: (1 + math.log(times)) * (1 + math.log((1 + len(TEXTS)) / (1 + holding[term])))
            for term, times in count.items()
        }
        length = math.sqrt(sum(weight**2 for weight in weights.values()))
        expected = [weights.get(term, 0.0) / length for term in fitted.terms]
        assert row == pytest.approx(expected, abs=1e-6)


def test_weights_are_those_of_scikit_learn() -> None:
    text = pytest.importorskip("sklearn.feature_extraction.text")
    texts = [f"{one} {other} {one}" for one in TEXTS for other in TEXTS]
    stem_of = Stemmer()

    def analyzer(found: str) -> list[str]:
        each = words(found)
        return [stem_of.stems(each)[word] for word in each]

    oracle = text.TfidfVectorizer(analyzer=analyzer, sublinear_tf=True)
    expected = oracle.fit_transform(texts).toarray()
    fitted = Tfidf.fit(texts)
    assert list(fitted.terms) == list(oracle.get_feature_names_out())
    np.testing.assert_allclose(dense(fitted.weights(texts), len(fitted.terms)), expected, atol=1e-6)


def test_of_too_many_terms_the_rarest_are_left_out() -> None:
    texts = ["common word", "common other", "common word once"]
    assert Tfidf.fit(texts).terms == ("common", "onc", "other", "word")
    assert Tfidf.fit(texts, most=2).terms == ("common", "word")


def test_weights_of_raw_text_are_those_of_scikit_learn() -> None:
    """Its own words of the text as it is; Porter's stemmer leaves these as they are."""
    text = pytest.importorskip("sklearn.feature_extraction.text")
    oracle = text.TfidfVectorizer(token_pattern=r"[^\W_]+", sublinear_tf=True)
    expected = oracle.fit_transform(RAW).toarray()
    fitted = Tfidf.fit(RAW)
    assert list(fitted.terms) == list(oracle.get_feature_names_out())
    np.testing.assert_allclose(dense(fitted.weights(RAW), len(fitted.terms)), expected, atol=1e-6)
