"""Golden questions: right and wrong answers, Wilson's interval, and what is made from held-out text."""

from __future__ import annotations

from pathlib import Path

import pytest
from scipy.stats import binomtest

from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError
from seedbed.corpus.build import build_corpus
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.store import Corpus
from seedbed.evaluation.golden import INVENTED, Contender, Golden, f1, golden_questions, is_right, judge, share
from seedbed.rag.passages import NOT_FOUND


@pytest.mark.parametrize(
    ("answer", "right", "wanted"),
    [
        ("It was Paris, of course.", "Paris", True),
        ("the harbour master", "The Harbour-Master!", False),
        ("John Smith built it in 1921", "built by John Smith", True),
        ("Parisian food", "Paris", False),
        ("", "Paris", False),
        ("London", "Paris", False),
    ],
)
def test_an_answer_is_right_where_it_holds_the_right_one_or_half_of_its_words(
    answer: str, right: str, wanted: bool
) -> None:
    assert is_right(answer, right) is wanted


def test_f1_is_squads() -> None:
    """By hand: three words said, two wanted, one shared: 2 · 1 / (3 + 2)."""
    assert f1("the old stone bridge", "a bridge, wooden") == pytest.approx(2 / 5)


@pytest.mark.parametrize(("right", "count"), [(14, 20), (0, 10), (7, 7), (1, 3)])
def test_intervals_are_scipys(right: int, count: int) -> None:
    found = share([True] * right + [False] * (count - right))
    wanted = binomtest(right, count).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((right / count, wanted.low, wanted.high), abs=1e-6)


def test_of_no_question_nothing_is_known() -> None:
    assert (share([]).low, share([]).high) == (0.0, 1.0)


def test_silence_is_no_refusal_and_a_question_too_long_for_a_window_is_not_answered() -> None:
    questions = [Golden("a", "yes"), Golden("b", ""), Golden("c", ""), Golden("d", "no")]

    def answer(question: str) -> str:
        if question == "d":
            raise CapacityError("too long", why="", fix="")
        return {"a": "Yes.", "b": NOT_FOUND, "c": ""}[question]

    found = judge(Contender("one", answer), questions)
    assert (found.right.value, found.refused.value) == (0.5, 0.5)
    assert found.examples == (("a", "yes", "Yes."), ("d", "no", ""))


def test_questions_are_made_from_the_split_that_no_model_sees(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(60):
        body = f"Harbour {number} was built by the guild of masons in {1500 + number}. It holds {number + 3} ships. "
        (folder / f"{number}.md").write_text(
            f"# Harbour {number}\n\n{body}\n\n## Crane {number}\n\nThe crane lifts stone. "
        )
    settings = CorpusSettings(sources=(SourceSettings(name="a", path=str(folder)),), near_duplicate=0.0)
    corpus = build_corpus(settings, Library(tmp_path / "home"))
    made = golden_questions(corpus, 5)
    assert [one.question for one in made[-len(INVENTED) :]] == list(INVENTED)
    asked = made[: -len(INVENTED)]
    assert 1 <= len(asked) <= 5
    assert made == golden_questions(corpus, 5)
    held_out = "\n".join(document.text for document in Corpus.open(corpus).documents("test"))
    assert all(one.answer and one.answer in held_out for one in asked)
