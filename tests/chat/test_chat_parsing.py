"""Forms: what a random model writes under the mask always parses; what a free one writes is checked and explained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from http.server import ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Delta, Message, Reply, Usage
from seedbed.chat.parsing import Choice, Form, JsonForm, ListForm, Regex
from seedbed.chat.remote import RemoteModel
from seedbed.chat.structured_output import ask_for
from seedbed.core.errors import DataError, UsageError

ASK = [Message("user", "Which?")]
TRIP = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "maxLength": 5},
        "days": {"type": "array", "items": {"type": "integer", "maximum": 9}, "maxItems": 2},
    },
    "required": ["city", "days"],
    "additionalProperties": False,
}
FORMS: list[Form[Any]] = [
    JsonForm(TRIP),
    JsonForm({"type": "boolean"}),
    Choice(("yes", "no", 'maybe "so"')),
    Regex(r"[A-Z][a-z]{2,5}, \d{4}"),
    ListForm(at_most=3, longest=6),
    ListForm("\n", 2, 2, 1),
    ListForm(at_least=2, at_most=5, longest=2),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.grammar.kind)
@pytest.mark.parametrize("seed", range(3))
def test_under_the_mask_every_reply_parses(local: LocalModel, form: Form[Any], seed: int) -> None:
    found = ask_for(local, ASK, form, seed=seed, temperature=1.5, max_tokens=600)
    assert not found.repaired
    assert found.usage == found.reply.usage


def test_and_over_the_wire(remote: RemoteModel, local: LocalModel) -> None:
    for form in FORMS:
        options: dict[str, Any] = {"seed": 1, "temperature": 1.5, "max_tokens": 600}
        assert ask_for(remote, ASK, form, **options) == ask_for(local, ASK, form, **options)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"city": "Oslo", "days": [1]}', {"city": "Oslo", "days": [1]}),
        ('{"city": "\\ud800\\u00fc\\ud83c\\udf31", "days": []}', {"city": "\ufffdü🌱", "days": []}),
        ('\n```json\n{"city": "Oslo",\n "days": []}\n```\n', {"city": "Oslo", "days": []}),
    ],
)
def test_json_that_follows_its_schema(text: str, value: Any) -> None:
    assert JsonForm(TRIP).parse(text) == value


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("Oslo", "line 1 column 1"),
        ('{"city": "Oslo", "days": [1', "line 1 column 28"),
        ('{"city": "Oslo"}', '$: "days" is a required property'),
        ('{"city": "Oslo", "days": [1, 12]}', "$.days[1]: 12 is greater than the maximum of 9"),
        ('{"city": "Oslo", "days": [1], "x": 0}', "$: Additional properties"),
        ('{"city": 3, "days": []}', "$.city: 3 is not of type"),
        ('{"city": NaN, "days": []}', "NaN is not JSON"),
        ("[" * 100_000, "recursion"),
        ("9" * 5000, "digits"),
        ('Sure! {"city": "Oslo", "days": [1]}', "line 1 column 1"),
    ],
)
def test_json_that_does_not(text: str, where: str) -> None:
    with pytest.raises(DataError) as raised:
        JsonForm(TRIP).parse(text)
    assert where in raised.value.why
    assert f"the model wrote {text[:200]!r}" in raised.value.why
    assert len(raised.value.why) < 1000


@pytest.fixture
def tempting() -> Iterator[tuple[str, list[str]]]:
    """A server with a schema that nobody may fetch."""
    from http.server import BaseHTTPRequestHandler
    from threading import Thread

    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "integer"}')

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/schema.json", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_schema_fetches_nothing(tempting: tuple[str, list[str]]) -> None:
    url, asked = tempting
    for reference in (url, "file:///etc/hostname"):
        with pytest.raises(UsageError, match="schema cannot be used"):
            JsonForm({"$ref": reference})
    assert asked == []


@pytest.mark.parametrize("schema", [{"type": "strin"}, {"pattern": "("}, {"minimum": "3"}])
def test_what_is_no_schema(schema: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="schema cannot be used"):
        JsonForm(schema)


def test_choices() -> None:
    assert Choice(("yes", "no")).parse(" yes\n") == "yes"
    with pytest.raises(DataError) as raised:
        Choice(("yes", "no")).parse("Yes.")
    assert raised.value.why == "the choices are 'yes', 'no'; the model wrote 'Yes.'"
    for options in ((), ("",), (" a",)):
        with pytest.raises(UsageError):
            Choice(options)


PATTERNS = [r"[a-c]+d?", r"(ab|a)(c|bcd)", r"a{2,3}b*", r"(é|🌱)+x", r"[^a]*", r"\d+(\.\d+)?", r""]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PATTERNS), st.text("abcd12.é🌱x", max_size=8))
def test_a_regex_means_what_python_means(pattern: str, text: str) -> None:
    matches = re.fullmatch(pattern, text) is not None
    try:
        assert Regex(pattern).parse(text) == text
        assert matches
    except DataError:
        assert not matches


@pytest.mark.parametrize(
    ("text", "where"),
    [("abx", "at 'x' (character 2)"), ("ab", "it ends too early, after 'ab' (character 2)"), ("", "ends too early")],
)
def test_where_a_text_leaves_its_regex(text: str, where: str) -> None:
    with pytest.raises(DataError) as raised:
        Regex("[a-c]+é+!").parse(text)
    assert where in raised.value.why


def test_no_regex_takes_exponential_time() -> None:
    """Python's own engine would not come back from this one."""
    with pytest.raises(DataError):
        Regex("(a+)+b").parse("a" * 5000)
    with pytest.raises(UsageError):
        Regex("(")


def test_lists() -> None:
    assert ListForm().parse(" red, green ,blue\n") == ["red", "green", "blue"]
    assert ListForm("\n").parse("1, 2\n3\n") == ["1, 2", "3"]
    assert ListForm().parse("one") == ["one"]


@pytest.mark.parametrize(
    ("form", "text", "where"),
    [
        (ListForm(), "a,,b", "item 2 is ''"),
        (ListForm(), "", "item 1 is ''"),
        (ListForm(at_most=2), "a,b,c", "3 items, not 1 to 2"),
        (ListForm(at_least=2), "a", "1 items, not 2 to 20"),
        (ListForm(longest=3), "a,bcde", "item 2 is 'bcde'"),
        (ListForm(), "Here:\na, b", "item 1"),
    ],
)
def test_what_is_no_such_list(form: ListForm, text: str, where: str) -> None:
    with pytest.raises(DataError) as raised:
        form.parse(text)
    assert where in raised.value.why


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.text("ab é.-", min_size=1, max_size=4).filter(lambda one: one == one.strip()), min_size=1, max_size=5)
)
def test_the_grammar_of_a_list_takes_what_parse_takes(items: list[str]) -> None:
    for form, between in ((ListForm(at_most=5, longest=4), ", "), (ListForm("\n", 1, 5, 4), "\n")):
        text = between.join(items)
        assert re.fullmatch(form.grammar.text, text)
        assert Regex(form.grammar.text).parse(text) == text
        assert form.parse(text) == items


@pytest.mark.parametrize(
    "options", [{"separator": ";"}, {"at_least": 0}, {"at_least": 3, "at_most": 2}, {"longest": 0}]
)
def test_what_is_no_form_of_a_list(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ListForm(**options)


class Free:
    """A model that masks nothing: it says what it is told to, and keeps what it was asked."""

    name, context_window = "free", 512

    def __init__(self, *texts: str, finish: Any = "stop") -> None:
        self.texts, self.finish = list(texts), finish
        self.asked: list[tuple[list[Message], dict[str, Any]]] = []

    def reply(self, messages: Sequence[Message], **options: Any) -> Reply:
        self.asked.append((list(messages), options))
        return Reply(self.texts.pop(0), (), Usage(10, 1), self.finish)

    def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Delta]:
        raise NotImplementedError

    def count_tokens(self, text: str) -> int:
        return len(text)

    def count_prompt(self, messages: Sequence[Message]) -> int:
        return 1


def test_a_model_that_did_not_mask_is_told_once() -> None:
    model = Free("Yes.", "yes")
    found = ask_for(model, ASK, Choice(("yes", "no")), max_tokens=5)
    assert (found.value, found.repaired, found.usage) == ("yes", True, Usage(20, 2))
    (_, first), (messages, second) = model.asked
    assert messages[:2] == [*ASK, Message("assistant", "Yes.")]
    assert "the choices are 'yes', 'no'; the model wrote 'Yes.'" in messages[2].text
    assert messages[2].text.endswith("Answer with one of these, and nothing else: yes; no")
    assert first == second == {"max_tokens": 5, "grammar": Choice(("yes", "no")).grammar}


def test_and_then_the_error_is_the_caller_s() -> None:
    model = Free("Yes.", "Of course.", "yes")
    with pytest.raises(DataError) as raised:
        ask_for(model, ASK, Choice(("yes", "no")))
    assert "the model wrote 'Of course.'" in raised.value.why
    assert len(model.asked) == 2


def test_a_reply_that_was_cut_off_is_not_asked_for_again() -> None:
    model = Free('{"city": "O', finish="length")
    with pytest.raises(DataError):
        ask_for(model, ASK, JsonForm(TRIP))
    assert len(model.asked) == 1


def test_without_a_mask_the_form_is_asked_for_in_words() -> None:
    model = Free("red, blue")
    question = [Message("system", "Be {brief}."), Message("user", "Colours? {x}")]
    assert ask_for(model, question, ListForm(), mask=False).value == ["red", "blue"]
    [(messages, options)] = model.asked
    told = "Colours? {x}\n\nAnswer with a list of 1 to 20 items, commas between them, and nothing else."
    assert (messages, options) == ([question[0], Message("user", told)], {})


def test_instructions_hold_the_form() -> None:
    assert json.dumps(TRIP) in JsonForm(TRIP).instruction
    assert Regex("[ab]+").instruction.endswith("[ab]+")
    assert "each on a line of its own" in ListForm("\n").instruction
