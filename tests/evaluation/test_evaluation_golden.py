"""Golden questions: right and wrong answers, Wilson's interval, what is made from held-out text, and rounds in time."""

from __future__ import annotations

import inspect
import os.path
import shutil
import textwrap
import threading

import pytest
from scipy.stats import binomtest

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CapacityError
from seedbed.corpus.build import build_corpus
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.store import Corpus
from seedbed.evaluation.golden import Contender, compare
from seedbed.evaluation.golden_questions import (
    LONGEST,
    UNANSWERABLE,
    Golden,
    _defined,
    _of_calls,
    _raised,
    golden_questions,
    unanswerable,
)
from seedbed.evaluation.right_answers import f1, is_right, share
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


def test_silence_is_no_refusal_and_a_question_too_long_for_a_window_is_counted() -> None:
    questions = [Golden("a", "yes"), Golden("b", ""), Golden("c", ""), Golden("d", "no")]

    def answer(question: str) -> str:
        if question == "d":
            raise CapacityError("too long", why="", fix="")
        return {"a": "Yes.", "b": NOT_FOUND, "c": ""}[question]

    (found,) = compare([Contender("one", answer)], questions)
    assert (found.right.value, found.refused.value, found.f1, found.too_long) == (0.5, 0.5, 0.5, 1)
    assert found.examples == (("a", "yes", "Yes."), ("d", "no", ""))


def test_another_form_of_the_answer_is_right_too() -> None:
    (found,) = compare([Contender("one", lambda _: "it is os.path.join")], [Golden("a", "join", ("os.path.join",))])
    assert found.right.value == 1.0


def test_all_contenders_are_asked_the_same_in_time_and_each_question_once() -> None:
    """A contender whose first round takes all the time: the others are asked no more than it is."""
    lock, asked = threading.Lock(), {"quick": [], "slow": []}

    def contender(name: str, wait: float) -> Contender:
        def answer(question: str) -> str:
            threading.Event().wait(wait)
            with lock:
                asked[name].append(question)
            return question

        return Contender(name, answer)

    questions = [Golden(f"q{number}", f"q{number}") for number in range(40)] + unanswerable(20)
    quick, slow = compare([contender("quick", 0.0), contender("slow", 0.05)], questions, seconds=0.05)
    assert sorted(asked["quick"]) == sorted(asked["slow"])
    assert 0 < quick.right.count == slow.right.count < 40
    assert quick.right.count == 2 * quick.refused.count  # every part has its share of both
    (everything,) = compare([contender("quick", 0.0)], questions, seconds=60.0)
    assert (everything.right.count, everything.refused.count, everything.right.value) == (40, 20, 1.0)


def test_fifty_different_questions_have_no_answer() -> None:
    assert len({one.question for one in unanswerable(50)}) == len(UNANSWERABLE) == 50
    assert not any("{" in one.question or one.answer for one in unanswerable(50))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Prose with facts, from which a tenth is held out."""
    folder, home = tmp_path_factory.mktemp("text"), tmp_path_factory.mktemp("home")
    for number in range(60):
        body = f"Harbour {number} was built by the guild of masons in {1500 + number}. It holds {number + 3} ships. "
        (folder / f"{number}.md").write_text(
            f"# Harbour {number}\n\n{body}\n\n## Crane {number}\n\nThe crane lifts stone. "
        )
    settings = CorpusSettings(sources=(SourceSettings(name="a", path=str(folder)),), near_duplicate=0.0)
    return build_corpus(settings, Library(home))


def test_answers_are_short_stand_in_held_out_text_and_not_in_the_question(corpus: Artifact) -> None:
    asked = golden_questions(corpus, 1000)
    held_out = "\n".join(document.text for document in Corpus.open(corpus).documents("test"))
    assert asked
    assert golden_questions(corpus, 5) == asked[:5]
    for one in asked:
        assert len(one.answer.split()) <= LONGEST
        assert one.answer in held_out
        assert one.answer not in one.question
    assert len({one.question for one in asked}) == len(asked)


def test_questions_about_code_have_pythons_own_answers() -> None:
    """A page of this Python's signatures; the answers are compared with what ``inspect`` says."""
    names = {
        "textwrap.wrap": textwrap.wrap,
        "os.path.basename": os.path.basename,
        "shutil.get_terminal_size": shutil.get_terminal_size,
    }
    parts = [
        f"## {name}{inspect.signature(one)}\n\nReturn what {name} is for, always.\n" for name, one in names.items()
    ]
    made = list(_of_calls("# things\n\nFiles.\n\n" + "\n".join(parts)))
    defaults = {tuple(one.question.split("`")[1::2]): one.answer for one in made if one.kind == "default"}
    assert set(defaults) == {("width", "textwrap.wrap"), ("fallback", "shutil.get_terminal_size")}
    for (parameter, name), answer in defaults.items():
        assert answer == repr(inspect.signature(names[name]).parameters[parameter].default)
    single = {one.question.split("`")[1]: one.answer for one in made if one.kind == "parameter"}
    assert single == {name: next(iter(inspect.signature(names[name]).parameters)) for name in list(names)[1:]}


@pytest.mark.parametrize(
    ("text", "condition", "answer"),
    [
        ("It raises a KeyError if the name is not known here.", "if the name is not known here", "KeyError"),
        ("Raises `OSError` when the disk has no room.", "when the disk has no room", "OSError"),
    ],
)
def test_exceptions_are_asked_for(text: str, condition: str, answer: str) -> None:
    asked = [(one.question, one.answer) for one in _raised(text)]
    assert asked == [(f"Which exception is raised {condition}?", answer)]


def test_definitions_are_asked_backwards() -> None:
    text = "A capstan is a machine with a vertical axle.\n\nIt is a machine that nobody has a name for.\n"
    found = [(one.question, one.answer) for one in _defined(text.replace("A capstan", "The Capstan winch"))]
    assert found == [("What is a machine with a vertical axle?", "Capstan winch")]
