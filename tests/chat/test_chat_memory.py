"""What a model is shown of a conversation: laws that hold for every memory, and closed forms for each."""

from __future__ import annotations

import pytest
from counting import WordModel, words_of
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.chat.memory import Buffer, Memory, TokenBudget, WindowMemory, fit_window
from seedbed.chat.messages import Message, ToolCall
from seedbed.chat.summary import ASK_SUMMARY, NO_SUMMARY, SummaryMemory
from seedbed.core.errors import CapacityError, UsageError

SYSTEM = Message("system", "be kind")


def talk(*sizes: int) -> list[Message]:
    """Turns of so many words in the answer, and a question under way."""
    turns = []
    for number, size in enumerate(sizes):
        turns += [Message("user", f"q{number}"), Message("assistant", " ".join([f"a{number}"] * size))]
    return [*turns, Message("user", "last")]


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Any: system messages, calls with results, questions nobody answered, results whose call is far away."""
    text = st.lists(st.sampled_from(["one", "two", "three"]), max_size=6).map(" ".join)
    messages, calls = [SYSTEM] if draw(st.booleans()) else [], list[str]()
    for number in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["user", "assistant", "call", "tool", "system"]))
        if kind == "call":
            calls.append(f"c{number}")
            messages.append(Message("assistant", draw(text), (ToolCall(calls[-1], "look", "{}"),)))
        elif kind == "tool":
            if calls:
                messages.append(Message("tool", draw(text), tool_call_id=draw(st.sampled_from(calls))))
        else:
            messages.append(Message(kind, draw(text)))
    return [*messages, Message("user", "last question")]


MEMORIES = st.one_of(
    st.just(Buffer()),
    st.builds(WindowMemory, st.integers(0, 4)),
    st.builds(TokenBudget, st.integers(0, 40)),
    st.builds(SummaryMemory, st.integers(0, 40)),
)


@given(conversations(), MEMORIES)
@settings(max_examples=200, deadline=None)
def test_what_every_memory_keeps_to(messages: list[Message], memory: Memory) -> None:
    view = memory.view(messages, WordModel())
    told = [ASK_SUMMARY, view.summary] if view.summary else []
    shown = [one for one in view.messages if one.text not in told]
    rest = iter(messages)
    assert all(one in rest for one in shown)  # in their order, and nothing new
    assert len(shown) + view.left_out == len(messages)
    assert [one for one in shown if one.role == "system"] == [one for one in messages if one.role == "system"]
    assert view.messages[-1] == messages[-1]
    calls = [call.id for one in view.messages for call in one.tool_calls]
    assert all(one.tool_call_id in calls for one in view.messages if one.role == "tool")


def test_buffer_shows_everything() -> None:
    assert Buffer().view(talk(1, 2), WordModel()).messages == tuple(talk(1, 2))


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 9])
def test_window_shows_the_latest_turns(turns: int) -> None:
    messages = talk(1, 2, 3)
    view = WindowMemory(turns).view([SYSTEM, *messages], WordModel())
    assert view.messages == (SYSTEM, *messages[max(0, 6 - 2 * turns) :])
    assert view.left_out == max(0, 6 - 2 * turns)


def test_a_turn_is_a_question_with_all_that_answers_it() -> None:
    call = Message("assistant", "", (ToolCall("c", "look", "{}"),))
    turn = [Message("user", "look it up"), call, Message("tool", "found", tool_call_id="c"), Message("assistant", "it")]
    question = Message("user", "and?")
    assert WindowMemory(1).view([*talk(1)[:-1], *turn, question], WordModel()).messages == (*turn, question)
    # a call that is being answered is under way, whatever the size
    assert WindowMemory(0).view([*talk(1)[:-1], *turn[:3]], WordModel()).messages == tuple(turn[:3])


@pytest.mark.parametrize("memory", [WindowMemory(1), TokenBudget(9), SummaryMemory(9)])
def test_a_result_goes_with_its_call(memory: Memory) -> None:
    call = Message("assistant", "", (ToolCall("c", "look", "{}"),))
    late = [Message("user", "hurry"), Message("tool", "found", tool_call_id="c"), Message("assistant", "it")]
    messages = [Message("user", "look it up " + "please " * 9), call, *late, Message("user", "and?")]
    view = memory.view(messages, WordModel())
    assert view.messages[-3:] == (late[0], late[2], messages[-1])
    assert view.left_out == 3


def test_a_token_budget_is_of_the_models_own_tokens() -> None:
    messages = talk(5, 3, 4)  # turns of 2 + 6, 2 + 4 and 2 + 5 words with their roles
    sizes = [sum(map(words_of, messages[place : place + 2])) for place in (0, 2, 4)]
    assert sizes == [8, 6, 7]
    for tokens, kept in ((0, 0), (6, 0), (7, 1), (12, 1), (13, 2), (20, 2), (21, 3)):
        view = TokenBudget(tokens).view([SYSTEM, *messages], WordModel())
        assert view.messages == (SYSTEM, *messages[6 - 2 * kept :])


def test_the_window_of_the_model_holds_the_view_and_a_reply() -> None:
    messages = [SYSTEM, *talk(5, 3, 4)]
    whole = sum(map(words_of, messages))
    assert fit_window(messages, WordModel(whole + 5), 5).left_out == 0
    assert fit_window(messages, WordModel(whole + 4), 5).left_out == 2
    assert fit_window(messages, WordModel(20), 100).messages == (SYSTEM, *messages[5:])  # a quarter for the reply
    with pytest.raises(CapacityError, match="the message has 5 tokens, 4 are allowed"):
        fit_window(messages, WordModel(5), 100)


@pytest.mark.parametrize("make", [WindowMemory, TokenBudget, SummaryMemory, lambda size: SummaryMemory(1, size + 1)])
def test_a_size_below_the_least_is_refused(make: type[WindowMemory]) -> None:
    with pytest.raises(UsageError, match="is out of range"):
        make(-1)


def test_a_summary_takes_in_what_falls_out_and_nothing_twice() -> None:
    model, memory = WordModel(answers=["sum one", "sum two"]), SummaryMemory(tokens=7)
    messages = talk(3)
    assert memory.view(messages, model).messages == tuple(messages)
    assert model.asked == []
    messages = talk(3, 2, 4)
    view = memory.view(messages, model)
    assert view.summary == "sum one"
    assert view.left_out == 4
    assert view.messages[:2] == (Message("user", ASK_SUMMARY), Message("assistant", "sum one"))
    assert view.messages[2:] == tuple(messages[4:])
    asked = model.asked[0][0].text
    assert NO_SUMMARY in asked
    assert "user: q0\nassistant: a0 a0 a0\nuser: q1\nassistant: a1 a1\n" in asked
    assert "a2" not in asked
    assert memory.view(messages, model) == view  # nothing new to say
    assert len(model.asked) == 1
    assert memory.view(talk(3, 2, 4, 1), model).summary == "sum two"
    asked = model.asked[1][0].text
    assert "sum one" in asked
    assert "user: q2\nassistant: a2 a2 a2 a2\n" in asked
    assert "q1" not in asked


def test_a_summary_is_of_one_conversation() -> None:
    model, memory = WordModel(answers=["old", "new"]), SummaryMemory(tokens=0)
    memory.view(talk(1, 2), model)
    again = SummaryMemory(0, summary=memory.summary)  # as it is kept with a saved conversation
    assert again.view(talk(1, 2), model).summary == "old"
    other = [Message("user", "something else"), Message("assistant", "indeed"), Message("user", "last")]
    assert again.view(other, model).summary == "new"
    assert "old" not in model.asked[1][0].text
    assert again.view([Message("user", "hello")], model).summary == ""


def test_a_summary_says_nothing_new_where_the_model_fails() -> None:
    class Broken(WordModel):
        def reply(self, messages: object, **options: object) -> object:  # type: ignore[override]
            raise CapacityError("no", why="no", fix="no")

    model, memory = WordModel(answers=["kept", ""]), SummaryMemory(tokens=0)
    memory.view(talk(1), model)
    with pytest.raises(CapacityError):
        memory.view(talk(1, 1), Broken())
    assert memory.summary.text == "kept"
    assert memory.view(talk(1, 1), model).summary == "kept"  # an empty summary forgets nothing
    assert memory.view(talk(1, 1, 1), model).summary == "yes"


def test_a_long_past_goes_into_a_short_window_piece_by_piece() -> None:
    """Every word is in exactly one question, in its order; the model itself checks that each fits."""
    words = [f"w{number}" for number in range(200)]
    messages = [Message("user", "tell me"), Message("assistant", " ".join(words)), Message("user", "last")]
    model, memory = WordModel(context_window=100), SummaryMemory(tokens=0, summary_tokens=20)
    memory.view(messages, model)
    asked = " ".join(one[0].text for one in model.asked).split()
    assert [word for word in asked if word in set(words)] == words
    assert len(model.asked) > 3
    with pytest.raises(CapacityError, match="too short to summarize in"):
        SummaryMemory(tokens=0, summary_tokens=20).view(messages, WordModel(context_window=40))


def test_braces_in_a_conversation_stay_text() -> None:
    model = WordModel()
    SummaryMemory(tokens=0).view([Message("user", "{summary} {x.y}"), Message("user", "last")], model)
    assert "user: {summary} {x.y}" in model.asked[0][0].text
