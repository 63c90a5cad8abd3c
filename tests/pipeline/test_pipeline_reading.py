"""The stage "reading": the prompt that `ask` sends, spans of passages as answers, and wrong passages with a refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import DataError
from seedbed.corpus.columns import Columns
from seedbed.corpus.document import CorpusDocument
from seedbed.corpus.pairs import build_pairs
from seedbed.corpus.passage_questions import passage_questions
from seedbed.corpus.questions import QuestionSettings, read_questions
from seedbed.pipeline.recipe import load_recipe
from seedbed.pipeline.run import run_recipe
from seedbed.rag.passages import NOT_FOUND

RECIPE = """
name = "r"
[[stage]]
kind = "corpus"
[stage.settings]
near_duplicate = 0.0
[[stage.settings.sources]]
name = "a"
path = "{folder}"
[[stage]]
kind = "reading"
{settings}
"""


def document(text: str, path: str = "harbour.md") -> CorpusDocument:
    return CorpusDocument(text, "a", path, path, "prose", "CC0-1.0")


def test_every_answer_stands_in_its_passage_and_every_passage_in_the_document() -> None:
    text = "# Harbour\n\nThe old harbour was built by the guild of Masons in 1612. It holds 40 ships in a storm.\n"
    found = list(passage_questions(document(text), QuestionSettings()))
    assert found
    for one in found:
        assert one.answer in " ".join(one.passage.text.split())
        assert text[one.passage.start : one.passage.end] == one.passage.text
    gaps = [one for one in found if "____" in one.question]
    assert gaps
    assert all(one.answer not in one.question for one in gaps)
    assert list(passage_questions(document(text), QuestionSettings(), gaps=False)) == [
        one for one in found if one not in gaps
    ]


def test_code_is_not_asked_about() -> None:
    code = CorpusDocument("def f():\n    return 1\n", "a", "f.py", "f.py", "code", "CC0-1.0")
    assert list(passage_questions(code, QuestionSettings())) == []


def made(tmp_path: Path, settings: str = "", **pairs: Any) -> Artifact:
    folder = tmp_path / "text"
    folder.mkdir(exist_ok=True)
    for number in range(40):
        page = f"# Harbour {number}\n\nHarbour {number} was built by the guild of Masons in {1500 + number}.\n"
        (folder / f"{number}.md").write_text(
            page + f"\n## Crane {number}\n\nThe crane of {number} lifts blocks of stone.\n"
        )
    library = Library(tmp_path / "home")
    if pairs:
        build_pairs(**pairs, library=library, name="pairs", licence="MIT")
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE.format(folder=folder, settings=settings))
    return run_recipe(load_recipe(recipe), library, restart=True).last("questions")


def test_a_share_of_the_questions_is_not_answered_by_their_passages(tmp_path: Path) -> None:
    artifact = made(tmp_path, "wrong = 0.4\npassages = 3\nseveral = 0.5\nquestions = 3")
    rows, turns = list(read_questions(artifact, "train")), []
    for row in rows:
        said = [message["content"] for message in row["messages"]]
        assert said[0].startswith("Answer the question from the passages")
        context, _, first = said[0].rpartition("Question: ")
        assert 1 <= context.count("<passage ") <= 3
        assert all(later.startswith("Question: ") for later in said[2::2])
        asked = [first, *(later.removeprefix("Question: ") for later in said[2::2])]
        here = list(zip(asked, said[1::2], strict=True))
        assert 1 <= sum(reply != NOT_FOUND for _, reply in here) <= 3
        assert all(reply == NOT_FOUND or reply in " ".join(context.split()) for _, reply in here)
        turns += here
    answered = {question: reply for question, reply in turns if reply != NOT_FOUND}
    assert len(answered) == sum(reply != NOT_FOUND for _, reply in turns)  # each question once with its passage
    refused = [question for question, reply in turns if reply == NOT_FOUND]
    assert 0.3 < len(refused) / len(turns) < 0.5
    assert set(refused) <= set(answered)
    assert artifact.manifest.metrics["train"] == {"reading": len(answered), "not in the documents": len(refused)}
    counts = [row["messages"][0]["content"].count("<passage ") for row in rows]
    assert set(counts) == {1, 2, 3}
    assert 0.2 < sum(count > 1 for count in counts) / len(counts) < 0.8


def test_a_refused_question_is_one_whose_answer_stands_in_none_of_the_passages(tmp_path: Path) -> None:
    rows = list(read_questions(made(tmp_path, "wrong = 0.5\nseveral = 0.5"), "train"))
    answers = {
        question.rpartition("Question: ")[2]: reply
        for row in rows
        for question, reply in zip(*[iter(message["content"] for message in row["messages"])] * 2, strict=True)
        if reply != NOT_FOUND
    }
    for row in rows:
        context = row["messages"][0]["content"].rpartition("Question: ")[0].lower()
        for question, reply in zip(*[iter(message["content"] for message in row["messages"])] * 2, strict=True):
            if reply == NOT_FOUND:
                assert answers[question.rpartition("Question: ")[2]].lower() not in " ".join(context.split())


def test_pairs_with_a_context_are_read_and_those_in_other_words_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        (
            f"set#{n}",
            {"question": f"Who keeps lamp {n}?", "context": f"Lamp {n} is kept by Ann {n}.", "answer": f"Ann {n}"},
        )
        for n in range(60)
    ]
    rows += [("set#x", {"question": "Why?", "context": "Rain fell.", "answer": "Because of the weather."})]
    columns = Columns(prompt="question", reply="answer", context="context")
    artifact = made(tmp_path, 'pairs = ["pairs"]\ncorpus = false\nwrong = 0.0', rows=rows, columns=columns)
    found = [row for split in ("train", "valid", "test") for row in read_questions(artifact, split)]  # type: ignore[arg-type]
    assert {row["messages"][-1]["content"] for row in found} == {f"Ann {n}" for n in range(60)}
    assert "left out: not verbatim" in capsys.readouterr().err
    assert artifact.manifest.licence == "MIT"


def test_without_questions_the_error_says_what_is_missing(tmp_path: Path) -> None:
    rows = [(f"s#{n}", {"question": f"q{n}", "answer": "a"}) for n in range(9)]
    with pytest.raises(DataError, match="none of their rows has a context"):
        made(
            tmp_path, 'pairs = ["pairs"]\ncorpus = false', rows=rows, columns=Columns(prompt="question", reply="answer")
        )
