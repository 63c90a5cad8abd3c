"""Published forms of conversations: every one is read, its whitespace kept, or the row has its reason counted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from seedbed.chat.messages import Message, Tool
from seedbed.chat.rendering import Toolbox, plain_messages
from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, UsageError
from seedbed.corpus.columns import Columns, find_columns
from seedbed.corpus.conversation import read_conversation
from seedbed.corpus.document import SPLITS
from seedbed.corpus.pairs import pairs_of_files
from seedbed.corpus.questions import first_exchange, read_questions
from seedbed.corpus.tally import UnreadRow

Turns = list[tuple[str, str]]
PLAIN: Turns = [("user", "Why?"), ("assistant", "So.")]
ASKED, SAID = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
CALL = {"id": "c1", "type": "function", "function": {"name": "sky", "arguments": '{"city": "Köln"}'}}
SKY = {"name": "sky", "description": "the weather", "parameters": {"type": "object", "properties": {}}}


def read(row: Mapping[str, Any]) -> Turns:
    found = read_conversation(row, find_columns(row)).messages
    return [(message["role"], message["content"]) for message in found]


def unread(row: Mapping[str, Any]) -> str:
    with pytest.raises(UnreadRow) as caught:
        read_conversation(row, find_columns(row))
    return str(caught.value)


def remarks(row: Mapping[str, Any]) -> list[str]:
    return read_conversation(row, find_columns(row)).remarks


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [ASKED, SAID]},
        {"messages": json.dumps([ASKED, SAID])},  # a column of a CSV file
        {"conversations": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
        {"instruction": "Why?", "input": "", "output": "So."},
        {"prompt": "Why?", "completion": "So."},
        {"prompt": [ASKED], "completion": [SAID]},
        {"prompt": "Why?", "chosen": "So.", "rejected": "No."},
        {"prompt": "Why?", "chosen": [ASKED, SAID], "rejected": [ASKED, SAID]},
        {"chosen": [ASKED, SAID], "rejected": [ASKED, SAID]},
        {"input": {"messages": [ASKED]}, "preferred_output": [SAID], "non_preferred_output": [SAID]},
        {"prompt": "Why?", "completion": "So.", "label": True},
        {"question": "Why?", "answers": {"text": ["So.", "Because."], "answer_start": [0, 4]}},
        {"prompt": "Why?", "responses": ["So.", "Because."]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Wh"}, {"type": "text", "text": "y?"}]},
                SAID,
            ]
        },
        {"messages": [{"role": "user", "content": ["Why?"]}, SAID]},
        {"messages": [ASKED, {"role": "assistant", "content": [{"type": "output_text", "text": "So."}]}]},
        {"messages": [ASKED, {"role": "assistant", "content": None, "refusal": "So."}]},
        {"messages": [{"role": "system", "content": ""}, ASKED, SAID]},
        {"messages": [ASKED, SAID, {"role": "user", "content": "And?"}]},
        {"messages": [ASKED, {**SAID, "reasoning_content": "Let me think."}]},
        {"": "0", "prompt": "Why?", "completion": "So."},  # an index, as pandas writes it
        {"messages": [{"speaker": "human", "text": "Why?"}, {"speaker": "bot", "text": "So."}]},
    ],
)
def test_published_forms_of_one_question_and_its_answer(row: dict[str, Any]) -> None:
    assert read(row) == PLAIN


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"system_prompt": "Be brief.", "question": "Why?", "response": "So."}, [("system", "Be brief."), *PLAIN]),
        ({"system": "Be brief.", "messages": [ASKED, SAID]}, [("system", "Be brief."), *PLAIN]),
        (
            {"messages": [{"role": "developer", "content": "Be brief."}, ASKED, SAID], "system": "unused"},
            [("system", "Be brief."), *PLAIN],
        ),
        ({"question": "Why?", "context": "A text.", "answer": "So."}, [("user", "Why?\n\nA text."), PLAIN[1]]),
        ({"prompt": "Why?", "context": "A text.", "response": "So."}, [("user", "Why?\n\nA text."), PLAIN[1]]),
        (
            {"instruction": "Why?", "output": "So.", "history": [["Who?", "I."]]},
            [("user", "Who?"), ("assistant", "I."), *PLAIN],
        ),
        ({"messages": [{"role": "user", "content": "A text."}, ASKED, SAID]}, [("user", "A text."), *PLAIN]),
        ({"messages": [SAID, ASKED, SAID]}, [("assistant", "So."), *PLAIN]),
        (
            {"prompt": "def f(x):\n", "completion": "    y = x\n    return y\n"},
            [("user", "def f(x):\n"), ("assistant", "    y = x\n    return y\n")],
        ),
        (
            {"messages": [ASKED, {"role": "assistant", "content": "\tone\n\n\ttwo  \n"}]},
            [("user", "Why?"), ("assistant", "\tone\n\n\ttwo  \n")],
        ),
        ({"prompt": "List them", "response": "[1, 2]"}, [("user", "List them"), ("assistant", "[1, 2]")]),
    ],
)
def test_what_else_a_row_holds_is_read_too(row: dict[str, Any], expected: Turns) -> None:
    assert read(row) == expected


TURNS = [
    ASKED,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    SAID,
]


def test_tool_turns_are_what_a_prompt_shows() -> None:
    """The oracle is the server's own way from messages to a prompt."""
    prompt = plain_messages([Message.from_wire(turn) for turn in TURNS])
    tools = [{"type": "function", "function": SKY}]
    assert read({"messages": TURNS}) == [(one["role"], one["content"]) for one in prompt]
    several = [ASKED, {"role": "assistant", "content": "", "tool_calls": [CALL, {**CALL, "id": "c2"}]}]
    for turns, parallel in ((TURNS, False), (several, True)):
        plain = plain_messages([Message.from_wire(turn) for turn in turns])
        box = Toolbox.of([Tool(**SKY)], "auto", parallel)
        assert box is not None
        assert read({"messages": turns, "tools": tools}) == [(o["role"], o["content"]) for o in box.describe(plain)]
    for written in ([SKY], json.dumps(tools)):
        assert read({"messages": TURNS, "tools": written}) == read({"messages": TURNS, "tools": tools})
    assert read({"messages": TURNS, "functions": [SKY]}) == read({"messages": TURNS, "tools": tools})


@pytest.mark.parametrize(
    "turns",
    [
        [  # arguments as an object, the result without an id
            ASKED,
            {"role": "assistant", "tool_calls": [{"function": {"name": "sky", "arguments": {"city": "Köln"}}}]},
            {"role": "tool", "content": "sunny"},
            SAID,
        ],
        [  # OpenAI's former form
            ASKED,
            {"role": "assistant", "content": None, "function_call": {"name": "sky", "arguments": '{"city": "Köln"}'}},
            {"role": "function", "name": "sky", "content": "sunny"},
            SAID,
        ],
        [  # ShareGPT with tools
            {"from": "human", "value": "Why?"},
            {"from": "function_call", "value": '{"name": "sky", "arguments": {"city": "Köln"}}'},
            {"from": "observation", "value": "sunny"},
            {"from": "gpt", "value": "So."},
        ],
        [  # Hermes: calls and results as text already
            {"from": "human", "value": "Why?"},
            {"from": "gpt", "value": '<tool_call>{"name": "sky", "arguments": {"city": "Köln"}}</tool_call>'},
            {"from": "tool", "value": '<tool_response name="sky">\nsunny\n</tool_response>'},
            {"from": "gpt", "value": "So."},
        ],
    ],
)
def test_other_ways_to_write_calls_come_to_the_same(turns: list[dict[str, Any]]) -> None:
    assert read({"messages": turns}) == read({"messages": TURNS})


def test_results_stand_under_the_calls_that_they_answer() -> None:
    calls = [{"id": name, "function": {"name": name, "arguments": "{}"}} for name in ("sky", "sea")]
    turns = [ASKED, {"role": "assistant", "tool_calls": calls}]
    results = [{"role": "tool", "tool_call_id": "sea", "content": "wet"}, {"role": "tool", "content": {"sun": 1}}]
    shown = [text for role, text in read({"messages": [*turns, *results, SAID]}) if role == "user"][1:]
    assert shown == [
        '<tool_response name="sea">\nwet\n</tool_response>',
        '<tool_response name="sky">\n{"sun": 1}\n</tool_response>',
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Why?", "response": None}, "a reply is empty"),
        ({"prompt": "Why?", "response": " \n"}, "a reply is empty"),
        ({"prompt": "Why?", "responses": []}, "a reply is empty"),
        ({"prompt": "", "response": "So."}, "a turn of the user is empty"),
        ({"prompt": None, "response": "So."}, "the prompt is empty"),
        ({"messages": None}, "column messages is empty"),
        ({"messages": "Why? So."}, "is text, no list of messages"),
        ({"chosen": "\n\nHuman: Why?\n\nAssistant: So.", "rejected": "x"}, "is text, no list of messages"),
        ({"messages": []}, "there is no reply in it"),
        ({"messages": [ASKED]}, "there is no reply in it"),
        ({"messages": [SAID]}, "nobody asks in it"),
        ({"messages": ["Why?", "So."]}, "a message is a str"),
        ({"messages": [{"content": "Why?"}, SAID]}, "a message has no role"),
        ({"messages": [{"role": "narrator", "content": "Why?"}, SAID]}, "the role 'narrator' is not known"),
        ({"messages": [{**ASKED, "content": [{"type": "image_url"}]}, SAID]}, "type 'image_url'"),
        ({"messages": [{"role": "user", "content": {"a": 1}}, SAID]}, "a content is a dict"),
        ({"messages": [ASKED, {"role": "tool", "content": "x"}, SAID]}, "a call that nobody made"),
        ({"messages": [ASKED, {"role": "assistant", "tool_calls": [{"id": "a"}]}, SAID]}, "no function with a name"),
        (
            {"messages": [ASKED, {"role": "assistant", "function_call": {"name": "f", "arguments": "{"}}]},
            "no JSON object",
        ),
        ({"messages": [ASKED, SAID], "tools": "sky(city)"}, "no list of functions"),
        ({"messages": [ASKED, SAID], "tools": [{"type": "web_search"}]}, "no function with a name"),
        ({"messages": [ASKED, {**SAID, "weight": 0}]}, "all its replies are marked"),
        ({"prompt": "Why?", "completion": "No.", "label": False}, "its label is false"),
        ({"instruction": "Why?", "output": "So.", "history": ["Who?", "I."]}, "no list of prompts"),
    ],
)
def test_a_row_that_is_not_read_says_why(row: dict[str, Any], reason: str) -> None:
    assert reason in unread(row)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"messages": [ASKED, SAID, ASKED]}, ["turns after the last reply are left out"]),
        ({"messages": [ASKED, {**SAID, "reasoning_content": "…", "name": "x"}]}, ["the field 'reasoning_content' of"]),
        ({"messages": [{**ASKED, "weight": 1}, SAID]}, ["a turn of the user that is marked to be learned"]),
        ({"messages": [ASKED, {**SAID, "weight": 0.5}]}, ["weights between 0 and 1"]),
        ({"prompt": "Why?", "chosen": "So.", "rejected": "No."}, ["preference data"]),
        ({"prompt": "Why?", "responses": ["So.", "Oh."]}, ["several replies: the first"]),
        ({"messages": [ASKED, {**SAID, "weight": 1, "id": None}], "tools": None}, []),
    ],
)
def test_what_is_left_out_of_a_row_is_remarked(row: dict[str, Any], told: list[str]) -> None:
    found = remarks(row)
    assert len(found) == len(told)
    assert all(one in text for one, text in zip(told, found, strict=True))


@pytest.mark.parametrize(
    "mark", [{"weight": 0}, {"weight": 0.0}, {"train": False}, {"training": False}, {"loss": False}]
)
def test_replies_that_are_not_to_be_learned_are_marked(mark: dict[str, Any]) -> None:
    row = {"messages": [ASKED, {**SAID, **mark}, ASKED, SAID]}
    found = read_conversation(row, find_columns(row)).messages
    assert [message.get("weight") for message in found] == [None, 0, None, None]


def test_replies_within_a_prompt_are_not_learned() -> None:
    row = {"prompt": [ASKED, SAID, ASKED], "completion": [SAID]}
    found = read_conversation(row, find_columns(row)).messages
    assert [message.get("weight") for message in found] == [None, 0, None, None]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_reasons_are_counted_and_said_with_their_first_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = [{"messages": [{"role": "user", "content": f"q{n}"}, SAID], "id": n} for n in range(5)]
    empty, narrated = {"messages": [ASKED, {"role": "assistant"}]}, {"messages": [{"role": "narrator"}]}
    path = write(tmp_path / "chats.jsonl", [good[0], empty, *good, narrated, empty])
    with path.open("a") as file:
        file.write("\nno json\n")
    library = Library(tmp_path / "library")
    artifact = pairs_of_files(library, [path], "chats", Columns(), "MIT")
    assert artifact.manifest.metrics["left_out"] == {
        "a reply is empty": {"rows": 2, "first": "chats.jsonl#2"},
        "the role 'narrator' is not known": {"rows": 1, "first": "chats.jsonl#8"},
    }
    told = capsys.readouterr().err
    assert "3 of 9 rows are left out\n  2 × a reply is empty (first: chats.jsonl#2)\n" in told
    assert "1 rows repeat another" in told
    assert "1 lines are not rows and are left out\n  1 × it is not JSON (first: chats.jsonl#11)\n" in told
    assert "columns that are not read: id\n" in told


def test_where_no_row_is_read_the_error_has_the_reasons(tmp_path: Path) -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    path = write(tmp_path / "chats.jsonl", [{"messages": [picture, SAID]}] * 9)
    with pytest.raises(DataError) as caught:
        pairs_of_files(Library(tmp_path / "library"), [path], "chats", Columns())
    assert "9 × a content has a part of type 'image_url': only text is read (first: chats.jsonl#1)" in caught.value.why


def test_a_file_of_text_is_sent_to_where_text_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", [{"text": "Some text."}] * 9)
    with pytest.raises(UsageError) as caught:
        pairs_of_files(Library(tmp_path / "library"), [path], "t", Columns())
    assert "seedbed corpus build" in caught.value.fix


@pytest.mark.parametrize(("suffix", "holder"), [("json", ""), ("json", "data"), ("jsonl", ""), ("ndjson", "")])
@pytest.mark.parametrize("indent", [None, 1])
def test_one_json_list_is_read(tmp_path: Path, suffix: str, holder: str, indent: int | None) -> None:
    rows = [{"prompt": f"q{n}", "completion": f" a{n}"} for n in range(5)]
    path = tmp_path / f"pairs.{suffix}"
    path.write_text(json.dumps({holder: rows} if holder else rows, indent=indent))
    library = Library(tmp_path / "library")
    stored = pairs_of_files(library, [path], "pairs", Columns())
    replies = [first_exchange(row)[1] for split in SPLITS for row in read_questions(stored, split)]
    assert sorted(replies) == [f" a{n}" for n in range(5)]


def test_the_first_exchange_goes_from_the_first_question_to_its_answer() -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "assistant", "content": "Hi"}, ASKED, SAID, ASKED, SAID]
    assert first_exchange({"messages": turns}) == (turns[:3], "So.")
