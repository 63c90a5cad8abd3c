"""Follow-up questions: rewritten by the model, or asked with the words of the question before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from answering import Recorder, chunks_of, said

from seedbed.chat.messages import Message, Usage
from seedbed.rag.answer import ask
from seedbed.rag.follow_up import MOST_TOKENS, is_sound, rewrite, turns_of
from seedbed.search.contracts import Hit

BEFORE = "When does the first ferry leave the harbour?"
HISTORY = [
    Message("system", "Be kind."),
    Message("user", BEFORE),
    Message("assistant", "The first ferry leaves at six."),
]
FOLLOWING = "And the last one?"
REWRITTEN = "When does the last ferry leave the harbour?"


def test_the_model_rewrites_a_follow_up_greedily_from_the_turns_before() -> None:
    model = Recorder(lambda prompt: f"Rewritten: {REWRITTEN}")
    found = rewrite(model, HISTORY, FOLLOWING)
    assert found.question == REWRITTEN
    assert found.usage.completion_tokens == 9
    assert BEFORE in said(model.prompts[0])
    assert "leaves at six" in said(model.prompts[0])
    assert "Be kind." not in said(model.prompts[0])
    assert (model.options[0]["temperature"], model.options[0]["max_tokens"]) == (0.0, MOST_TOKENS)


def test_without_a_conversation_no_model_is_asked() -> None:
    model = Recorder(str)
    for history in ([], [Message("system", "Be kind.")]):
        assert rewrite(model, history, FOLLOWING).question == FOLLOWING
    assert model.prompts == []


@pytest.mark.parametrize(
    "written", ["", "and the LAST one", "word " * 60, BEFORE, "Who discovered penicillin in London?", "?"]
)
def test_a_rewriting_that_cannot_be_right_leaves_the_words_of_the_question_before(written: str) -> None:
    found = rewrite(Recorder(lambda prompt: written), HISTORY, FOLLOWING)
    assert found.question == f"{BEFORE} {FOLLOWING}"
    assert found.usage != Usage()  # what was written in vain is paid too


def test_without_a_model_or_room_the_words_of_the_question_before_help() -> None:
    assert rewrite(None, HISTORY, FOLLOWING).question == f"{BEFORE} {FOLLOWING}"
    small = Recorder(lambda prompt: REWRITTEN, window=60)
    assert rewrite(small, HISTORY, FOLLOWING).question == f"{BEFORE} {FOLLOWING}"
    assert small.prompts == []


def test_turns_are_questions_with_their_answers() -> None:
    assert turns_of([*HISTORY, Message("user", "Why?")]) == [(BEFORE, "The first ferry leaves at six."), ("Why?", "")]
    assert is_sound(REWRITTEN, FOLLOWING, BEFORE, BEFORE)


def test_a_rewriting_that_turns_the_question_round_is_not_used() -> None:
    before, told = "When was the observatory opened?", "When was the observatory opened? In 1931."
    assert is_sound("When was the second telescope opened?", "and the second telescope?", before, told)
    assert not is_sound("When was the first telescope opened?", "and the second telescope?", before, told)
    assert not is_sound("When was the telescope opened?", "and the second telescope?", before, told)
    assert not is_sound("When was the second telescope sold?", "and the second telescope?", before, told)


def test_an_answer_is_searched_with_the_rewriting_and_says_so() -> None:
    searched = []

    def search(question: str, k: int) -> Sequence[Hit]:
        searched.append(question)
        return [Hit(chunk, 1.0) for chunk in chunks_of("The last ferry leaves the harbour at midnight.")]

    model = Recorder(lambda prompt: REWRITTEN if "Follow-up" in prompt else "It leaves at midnight.")
    answer = ask(FOLLOWING, search, model, history=HISTORY)
    assert searched == [REWRITTEN]
    assert (answer.question, answer.rewritten, answer.text) == (FOLLOWING, REWRITTEN, "It leaves at midnight.")
    assert REWRITTEN in said(model.prompts[1])
    assert answer.usage.completion_tokens == 8 + 4
    assert ask(BEFORE, search, model).rewritten == ""
