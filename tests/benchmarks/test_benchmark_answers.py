"""How the benchmark of answers scores and chooses, on cases that can be checked by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from answers import balanced, best_threshold, f1, normal, scores


def test_answers_are_compared_in_squads_normal_form() -> None:
    assert normal("The  Eiffel-Tower, a sight!") == "eiffeltower sight"
    assert normal("An A the") == ""


@pytest.mark.parametrize(
    ("answer", "right", "expected"),
    [
        ("the cat sat", "cat", 2 / 3),  # one of two words, all of one
        ("cat cat", "cat", 2 / 3),  # a word counts as often as it is in both
        ("dog", "cat", 0.0),
        ("", "the", 1.0),  # both are nothing
        ("", "cat", 0.0),
    ],
)
def test_f1_is_of_words(answer: str, right: str, expected: float) -> None:
    assert f1(answer, right) == pytest.approx(expected)


def test_the_best_right_answer_counts() -> None:
    assert scores("It was in 1932.", ["1933", "in 1932"]) == {
        "exact match": 0.0,
        "F1": pytest.approx(2 / 3),
        "has it": 1.0,
    }
    assert scores("In 1932", ["1933", "in 1932"])["exact match"] == 1.0
    assert scores("1932s", ["1932"])["has it"] == 0.0


def test_a_threshold_parts_what_is_told_from_what_is_not() -> None:
    values = [(0.9, True), (0.5, True), (0.3, False), (0.1, False), (0.6, False)]
    threshold = best_threshold(values)
    assert 0.3 < threshold <= 0.5
    assert balanced(values, threshold) == pytest.approx((1.0, 2 / 3, 5 / 6))
