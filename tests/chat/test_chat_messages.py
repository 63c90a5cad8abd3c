"""Messages to and from the wire, which OpenAI's own types read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from openai.types.completion_usage import CompletionUsage
from pydantic import TypeAdapter

from seedbed.chat.messages import Message, Reply, TextPart, Tool, ToolCall, Usage
from seedbed.core.errors import DataError

CALL = ToolCall("call_1", "weather", '{"city": "Oslo"}')
OPENAI: TypeAdapter[Any] = TypeAdapter(ChatCompletionMessageParam)
texts = st.text(max_size=20)
calls = st.builds(ToolCall, texts, texts, texts)
messages = st.one_of(
    st.builds(Message, st.sampled_from(["system", "user"]), texts),
    st.builds(Message, st.just("assistant"), texts, st.lists(calls, max_size=2).map(tuple)),
    st.builds(Message, st.just("tool"), texts, st.just(()), texts),
)


@settings(deadline=None)
@given(messages)
def test_the_wire_gives_a_message_back(message: Message) -> None:
    assert Message.from_wire(message.to_wire()) == message


@settings(deadline=None)
@given(messages)
def test_openai_reads_a_message(message: Message) -> None:
    OPENAI.validate_python(message.to_wire())


def test_openai_reads_a_tool_and_a_count() -> None:
    TypeAdapter(ChatCompletionToolParam).validate_python(Tool("weather").to_wire())
    assert CompletionUsage.model_validate((Usage(3, 4) + Usage(1, 2)).to_wire()).total_tokens == 10


def test_other_forms_of_the_same() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    read = Message.from_wire({"role": "developer", "content": parts})
    assert read == Message("system", [TextPart("a"), TextPart("b")])
    assert (read.text, read.to_wire()["content"]) == ("ab", parts)
    assert (Message("user", "ab").content, Message("user", "").content) == ((TextPart("ab"),), ())
    assert Message.from_wire({"role": "assistant", "content": None, "tool_calls": [CALL.to_wire()]}).tool_calls == (
        CALL,
    )
    assert Usage.from_wire(None) == Usage()
    assert Usage.from_wire({"prompt_tokens": 3, "completion_tokens": None}) == Usage(3, 0)


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"role": "robot", "content": ""},
        {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
        {"role": "user", "content": 3},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1"}]},
        {"role": "assistant", "content": "", "tool_calls": ["call"]},
    ],
)
def test_what_is_no_message_is_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Message.from_wire(wire)


def test_a_reply_is_the_next_message() -> None:
    assert Reply("hm", (CALL,)).message == Message("assistant", "hm", (CALL,))
