"""System messages reach the model that answers from documents, in every chain, and have their room in its window."""

from __future__ import annotations

import pytest
from answering import Recorder, Scorer, chunks_of

from seedbed.chat.messages import Message
from seedbed.core.errors import CapacityError
from seedbed.rag.answer import ask
from seedbed.rag.chains import CHAINS, Chain
from seedbed.rag.instructed import instructed
from seedbed.search.contracts import Hit

TEXTS = ("The bridge was opened in 1932 by the governor.", "The bridge has two towers.")
SYSTEM = Message("system", "Speak like {a} sailor.")
HISTORY = [SYSTEM, Message("user", "Who opened the bridge?"), Message("assistant", "The governor.")]


def search(question: str, k: int) -> list[Hit]:
    return [Hit(chunk, 1.0) for chunk in chunks_of(*TEXTS)][:k]


@pytest.mark.parametrize("chain", [one for one in CHAINS if one != "extract"])
@pytest.mark.parametrize("make", [Recorder, Scorer])
def test_every_prompt_of_an_answer_begins_with_the_system_message(chain: Chain, make: type[Recorder]) -> None:
    model = make(lambda prompt: "It was opened in 1932.")
    ask("When was the bridge opened?", search, model, chain=chain, history=HISTORY, threshold=0)
    answers = [prompt for prompt in model.prompts if "Follow-up" not in prompt[-1].text]  # others rewrite
    assert answers
    assert all(prompt[0] == SYSTEM for prompt in answers)
    plain = make(lambda prompt: "It was opened in 1932.")
    ask("When was the bridge opened?", search, plain, chain=chain, history=HISTORY[1:], threshold=0)
    assert all(message.role != "system" for prompt in plain.prompts for message in prompt)


def test_the_instructions_count_as_a_part_of_the_prompt() -> None:
    model = instructed(Recorder(str, window=90), [Message("system", "word " * 60)])
    assert model.count_prompt([Message("user", "one two")]) == 61 + 3
    with pytest.raises(CapacityError):
        ask("bridge?", search, Recorder(str, window=90), history=[Message("system", "word " * 60)], threshold=0)


def test_a_conversation_is_understood_beside_its_system_message() -> None:
    model = Recorder(lambda prompt: "Rewritten: When was the bridge opened?" if "Follow-up" in prompt else "In 1932.")
    answer = ask("And when was it opened?", search, model, history=HISTORY)
    assert answer.rewritten
    assert any("Who opened the bridge?" in message.text for message in model.prompts[0])
