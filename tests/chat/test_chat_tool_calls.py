"""Tool calls in a reply's text: read back as they were written, wherever the text is cut, one call or several."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.chat.messages import Tool
from seedbed.chat.rendering import Toolbox, reply_grammar
from seedbed.chat.tool_calls import ToolCallReader
from seedbed.core.errors import UsageError
from seedbed.inference.grammar import follow
from seedbed.tokenizers.tool_text import write_call

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('}{]["\\:,</tool_call>a', max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('ab}"', max_size=3), inner, max_size=3),
    max_leaves=8,
)
CALLS = st.lists(st.tuples(st.sampled_from(["weather", "stop_it"]), VALUES), max_size=4)
TOOLS = [Tool("weather"), Tool("stop_it")]
ONE, TWO = write_call("weather", "{}"), write_call("weather", "{}") + write_call("stop_it", "{}")


@given(st.text("ab<{", max_size=12), CALLS, st.data())
def test_calls_are_read_as_they_were_written(before: str, calls: list[tuple[str, Any]], data: st.DataObject) -> None:
    written = [(name, json.dumps(value)) for name, value in calls]
    text = before + "".join(write_call(name, arguments) for name, arguments in written)
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=12))})
    reader, shown, found = ToolCallReader(), "", list[list[str]]()
    for start, end in [*pairwise(cuts), (len(text), len(text))]:
        fresh, parts = reader.push(text[start:end], end == start or end == len(text))
        shown += fresh
        for part in parts:
            if part.name:
                assert part.index == len(found)
                found.append([part.name, "", part.id])
            assert (part.index, part.id) == (len(found) - 1, found[-1][2])
            found[-1][1] += part.arguments
    assert shown == before
    assert [(name, arguments) for name, arguments, _ in found] == written
    assert len({identity for *_, identity in found}) == len(found)


@pytest.mark.parametrize("size", range(1, len(TWO)))
def test_calls_that_are_cut_off_keep_what_they_have(size: int) -> None:
    shown, parts = ToolCallReader().push(TWO[:size], True)
    assert shown == ("" if size >= len("<tool_call>") else TWO[:size])
    for part in parts:
        assert "{}".startswith(part.arguments)


@pytest.mark.parametrize(("several", "text", "fits"), [(False, ONE, True), (False, TWO, False), (True, TWO, True)])
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_the_grammar_allows_several_calls_only_where_they_are_asked_for(
    several: bool, text: str, fits: bool, choice: str
) -> None:
    grammar = reply_grammar(None, Toolbox.of(TOOLS, choice, several))
    assert grammar is not None
    before = "Let me look. " if choice == "auto" else ""
    place, complete = follow(grammar, before + text)
    assert (place == len(before + text) and complete) == fits


def test_the_number_of_calls_is_no_number(local: Any) -> None:
    with pytest.raises(UsageError, match="parallel_tool_calls is not True or False"):
        local.stream([], tools=TOOLS, parallel_tool_calls=2)
