"""Words and stems: by hand, and by the examples of Porter's paper."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.vectors.words import Stemmer, stem_counts, words


def test_words_are_those_of_the_text() -> None:
    assert words("Don't_stop: Zürich's 2nd café, 東京 x²!") == [
        "don",
        "t",
        "stop",
        "zürich",
        "s",
        "2nd",
        "café",
        "東",
        "東京",
        "京",
        "x2",
    ]
    assert words("Zu\u0308rich") == ["zürich"]
    assert words("") == []


def test_stems_are_porters() -> None:
    """Examples of Porter (1980), from each step of the algorithm."""
    expected = {
        "caresses": "caress", "ponies": "poni", "cats": "cat", "agreed": "agre", "plastered": "plaster",
        "motoring": "motor", "hopping": "hop", "filing": "file", "happy": "happi", "relational": "relat",
        "vietnamization": "vietnam", "triplicate": "triplic", "hopeful": "hope", "goodness": "good",
        "revival": "reviv", "allowance": "allow", "adjustable": "adjust", "effective": "effect", "probate": "probat",
        "controll": "control", "zürich": "zurich",
    }  # fmt: skip
    stemmer = Stemmer()
    assert stemmer.stems(expected) == expected
    assert stemmer.stems(["cats", "new"]) == {"cats": "cat", "new": "new"}
    assert stemmer.stems([]) == {}


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40))
def test_every_text_has_stems(text: str) -> None:
    (found,) = stem_counts([text])
    assert found.total() == len(words(text))
