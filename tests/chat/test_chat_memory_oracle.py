"""Which turns are kept, against LangChain's memory classes on random conversations."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from counting import WordModel
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.chat.memory import Memory, TokenBudget, WindowMemory
from seedbed.chat.messages import Message
from seedbed.chat.summary import SummaryMemory

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    classic = pytest.importorskip("langchain_classic.memory", reason="langchain-classic is not installed")
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
Turns = list[tuple[str, str]]


class Counting(FakeListChatModel):
    """Counts words, and answers with one of two summaries."""

    responses: list[str] = ["a summary", "another summary"]  # noqa: RUF012 (a field of pydantic's)

    def get_num_tokens(self, text: str) -> int:
        return len(text.split())


@st.composite
def conversations(draw: st.DrawFn) -> Turns:
    """Turns of up to nine words a message; each begins with its number."""
    words = st.lists(st.sampled_from(["lorem", "ipsum", "dolor"]), max_size=8).map(" ".join)
    return [(f"q{n} {draw(words)}".strip(), f"a{n} {draw(words)}".strip()) for n in range(draw(st.integers(0, 9)))]


def kept_by_langchain(memory: Any, turns: Turns) -> list[list[str]]:
    """After each turn: the messages that are left. It may keep half a turn, which ours never does: left out here."""
    found = []
    for question, answer in turns:
        memory.save_context({"input": question}, {"output": answer})
        left = [one.content for one in memory.load_memory_variables({})["history"] if one.type != "system"]
        found.append(left[1:] if left[:1] and left[0].startswith("a") else left)
    return found


def kept_by_ours(memory: Memory, turns: Turns) -> list[list[str]]:
    """Before each next question: the messages that are shown, without it and without a summary."""
    messages, found, model = list[Message](), list[list[str]](), WordModel()
    for question, answer in turns:
        messages += [Message("user", question), Message("assistant", answer)]
        view = memory.view([*messages, Message("user", "next")], model)
        found.append([one.text for one in view.messages[2 if view.summary else 0 : -1]])
    return found


@given(conversations(), st.integers(0, 6))
@settings(max_examples=100, deadline=None)
def test_window_keeps_what_langchain_keeps(turns: Turns, size: int) -> None:
    theirs = classic.ConversationBufferWindowMemory(k=size, return_messages=True)
    assert kept_by_ours(WindowMemory(size), turns) == kept_by_langchain(theirs, turns)


@given(conversations(), st.integers(0, 80))
@settings(max_examples=100, deadline=None)
def test_a_token_budget_keeps_what_langchain_keeps(turns: Turns, size: int) -> None:
    theirs = classic.ConversationTokenBufferMemory(llm=Counting(), max_token_limit=size, return_messages=True)
    assert kept_by_ours(TokenBudget(size), turns) == kept_by_langchain(theirs, turns)


@given(conversations(), st.integers(0, 80))
@settings(max_examples=100, deadline=None)
def test_a_summary_keeps_what_langchain_keeps(turns: Turns, size: int) -> None:
    theirs = classic.ConversationSummaryBufferMemory(llm=Counting(), max_token_limit=size, return_messages=True)
    ours = SummaryMemory(size)
    kept = kept_by_ours(ours, turns)
    assert kept == kept_by_langchain(theirs, turns)
    if kept and len(kept[-1]) < 2 * len(turns):
        assert ours.summary.text  # something fell out, and both have summarized it
        assert theirs.moving_summary_buffer
