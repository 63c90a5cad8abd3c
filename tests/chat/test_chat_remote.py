"""The remote model: over a real server it is the local one, and a server's every misfortune is told or got over."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from chat_servers import ANSWER, ASK, CHAT, OK, Scripted, chunk
from serving import Live

from seedbed.chat import transport
from seedbed.chat.failures import RemoteError
from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message, Reply, Tool, ToolCall, Usage
from seedbed.chat.model import scoring
from seedbed.chat.open_model import open_model
from seedbed.chat.remote import RemoteModel
from seedbed.chat.tracing import TraceEvent
from seedbed.chat.transport import Retries, sse_data
from seedbed.core.errors import CapacityError, NotFoundError, UsageError
from seedbed.inference.parameters import Grammar

CLOSED = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Bonn"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [Tool("weather", "The weather.", CLOSED)]
CALLED = [
    *ASK,
    Message("assistant", "", (ToolCall("1", "weather", '{"city": "Oslo", "days": 1}'),)),
    Message("tool", "rain", (), "1"),
]
HOT: dict[str, Any] = {"temperature": 1.5, "seed": 7, "max_tokens": 40}
CASES: list[dict[str, Any]] = [
    {**HOT},
    {**HOT, "logprobs": True, "stop": ["e"]},
    {**HOT, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.1},
    {**HOT, "frequency_penalty": 0.5, "presence_penalty": -0.5},
    {**HOT, "grammar": Grammar("choice", '["yes", "no"]')},
    {**HOT, "grammar": Grammar("regex", "[a-c]{3,9}")},
    {**HOT, "grammar": Grammar("lark", 'start: ("a" | "b") "c"')},
    {**HOT, "max_tokens": 300, "grammar": Grammar("json_schema", json.dumps(CLOSED))},
    {**HOT, "max_tokens": 300, "tools": TOOLS, "tool_choice": "required"},
    {**HOT, "max_tokens": 300, "tools": TOOLS, "tool_choice": "weather"},
    {**HOT, "tools": TOOLS, "tool_choice": "auto"},
]


def without_id(reply: Reply) -> Reply:
    calls = tuple(ToolCall("", call.name, call.arguments) for call in reply.tool_calls)
    return Reply(reply.text, calls, reply.usage, reply.finish, reply.logprobs, reply.model)


@pytest.mark.parametrize("options", CASES, ids=lambda options: "-".join(sorted(set(options) - set(HOT))) or "plain")
def test_it_answers_as_the_local_model_does(remote: RemoteModel, local: LocalModel, options: dict[str, Any]) -> None:
    """One engine, one contract of determinism: text, calls, counts and log-probabilities are the same to the digit."""
    expected = local.reply(ASK, **options)
    found = remote.reply(ASK, **options)
    assert without_id(found) == without_id(expected)
    *pieces, last = remote.stream(ASK, **options)
    assert last.reply is not None
    assert without_id(last.reply) == without_id(expected)
    assert "".join(piece.text for piece in pieces) == expected.text


def test_calls_and_their_results_go_over_the_wire(remote: RemoteModel, local: LocalModel) -> None:
    assert remote.reply(CALLED, **HOT) == local.reply(CALLED, **HOT)


@pytest.mark.parametrize("messages", [ASK, CALLED])
def test_it_counts_as_the_local_model_does(remote: RemoteModel, local: LocalModel, messages: list[Message]) -> None:
    assert remote.count_prompt(messages) == local.count_prompt(messages)
    assert remote.count_tokens("Größe 🌱") == local.count_tokens("Größe 🌱")
    assert remote.count_tokens("") == 0
    assert remote.context_window == local.context_window


@pytest.mark.parametrize("answer", ["A seed grows.", "日本語 🌱", ""])
def test_it_scores_as_the_local_model_does(remote: RemoteModel, local: LocalModel, answer: str) -> None:
    assert scoring(remote) is remote
    assert remote.score(ASK, answer) == local.score(ASK, answer)
    assert remote.score(ASK, answer, end=True) == local.score(ASK, answer, end=True)
    assert len(remote.score(ASK, "", end=True)) == 1


def test_the_only_model_of_a_server_needs_no_name(live: Live) -> None:
    with RemoteModel(live.url + "/v1/", key=live.key) as model:
        assert model.name == "tiny"
        assert model.reply(ASK, max_tokens=1).model == "tiny"


def test_a_given_window_bounds_the_server_s(live: Live) -> None:
    with RemoteModel(live.url, "tiny", live.key, window=512) as model:
        assert model.context_window == 512


def test_what_the_server_refuses_keeps_its_reason(live: Live, remote: RemoteModel) -> None:
    for ask in (remote.reply, lambda messages, **options: list(remote.stream(messages, **options))):
        with pytest.raises(CapacityError) as raised:
            ask([Message("user", "x" * 2000)])
        assert "1024 are allowed" in raised.value.why
        with pytest.raises(UsageError) as refused:
            ask(ASK, top_p=2)
        assert "top_p" in refused.value.why
    with pytest.raises(NotFoundError):
        RemoteModel(live.url, "nobody", live.key).reply(ASK)
    with pytest.raises(RemoteError) as unknown:
        RemoteModel(live.url, "tiny", "wrong").reply(ASK)
    assert (unknown.value.status, unknown.value.fix) == (401, "give the server's key")
    with pytest.raises(UsageError, match="there is no option temprature"):
        remote.reply(ASK, temprature=1)  # type: ignore[call-arg]


def test_the_key_of_the_environment(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_KEY", live.key)
    model = open_model(f"{live.url}#tiny")
    assert isinstance(model, RemoteModel)
    assert (model.name, model.context_window) == ("tiny", 1024)


@pytest.mark.parametrize("whole", [True, False])
def test_a_busy_server_is_waited_for(scripted: Scripted, whole: bool) -> None:
    last = OK if whole else (200, {}, [chunk("hi", "stop"), b"data: [DONE]\n\n"])
    scripted.says((429, {"Retry-After": "7"}, b"{}"), (503, {}, b"later"), (500, {}, b""), last)
    model = scripted.model()
    assert (model.reply(ASK).text if whole else "".join(one.text for one in model.stream(ASK))) == "hi"
    assert scripted.waits[0] == 7
    assert (0 <= scripted.waits[1] <= 1, 0 <= scripted.waits[2] <= 2, len(scripted.waits)) == (True, True, 3)


def test_waiting_ends(scripted: Scripted) -> None:
    scripted.says((503, {}, {"error": {"message": "no memory \x1b[2J for it", "code": "no_memory"}}))
    with pytest.raises(RemoteError) as raised:
        scripted.model().reply(ASK)
    assert (len(scripted.asked), len(scripted.waits), raised.value.status) == (4, 3, 503)
    assert "no memory" in raised.value.why
    assert "\x1b" not in raised.value.why


def test_a_server_that_asks_for_too_long_is_not_waited_for(scripted: Scripted) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    scripted.says((429, {"Retry-After": date}, b""), (429, {"Retry-After": "61"}, b""), OK)
    for _ in range(2):
        with pytest.raises(RemoteError):
            scripted.model().reply(ASK)
    assert (len(scripted.asked), scripted.waits) == (2, [])


@pytest.mark.parametrize(
    ("value", "low", "high"), [("3", 3, 3), ("soon", 0, 0.5), ("Thu, 01 Jan 1970 00:00:00 GMT", 0, 0), ("-5", 0, 0.5)]
)
def test_how_long_a_server_asks_to_wait(scripted: Scripted, value: str, low: float, high: float) -> None:
    scripted.says((503, {"Retry-After": value}, b""), OK)
    scripted.model().reply(ASK)
    assert low <= scripted.waits[0] <= high


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 302])
def test_what_waiting_cannot_help_is_told_at_once(scripted: Scripted, status: int) -> None:
    scripted.says((status, {"Location": "http://127.0.0.1:1/"}, {"detail": "because"}), OK)
    with pytest.raises((RemoteError, UsageError, NotFoundError)) as raised:
        scripted.model().reply(ASK)
    assert "because" in raised.value.why
    assert len(scripted.asked) == 1


def test_nobody_there() -> None:
    waits: list[float] = []
    model = RemoteModel("http://127.0.0.1:9", "m", retries=Retries(attempts=3, sleep=waits.append))
    with pytest.raises(RemoteError, match="does not answer"):
        model.reply(ASK)
    assert len(waits) == 2


@pytest.mark.parametrize("cut", [[None], [b'{"choices": [', None]])
def test_an_answer_that_was_cut_is_asked_for_again(scripted: Scripted, cut: list[bytes | None]) -> None:
    scripted.says((200, {}, cut), OK)
    assert scripted.model().reply(ASK).text == "hi"
    assert len(scripted.asked) == 2


@pytest.mark.parametrize(
    "rest",
    [
        [None],
        [b'data: {"choi', None],
        [],
        [b'data: {"error": {"message": "the engine failed"}}\n\n'],
        [b"data: what?\n\n"],
        [b'data: {"choices": 3}\n\n'],
        [b"data: [DONE]\n\n"],
    ],
)
def test_a_stream_is_not_begun_again(scripted: Scripted, rest: list[bytes | None]) -> None:
    scripted.says((200, {}, [chunk("o"), *rest]), OK)
    stream = scripted.model().stream(ASK)
    assert next(stream).text == "o"
    with pytest.raises(RemoteError):
        list(stream)
    assert (len(scripted.asked), scripted.waits) == (1, [])


def test_a_stream_that_breaks_before_its_first_word_was_sent_is_begun_again(scripted: Scripted) -> None:
    scripted.says((200, {}, [None]), (200, {}, [chunk("o", "stop"), b"data: [DONE]\n\n"]))
    assert [one.text for one in scripted.model().stream(ASK)] == ["o", ""]


def test_streams_as_other_servers_write_them(scripted: Scripted) -> None:
    """Comments, carriage returns, other fields, data over two lines, no space, and U+2028, no end of a line here."""
    call = {
        "choices": [{"delta": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]}}]
    }
    more = {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}}]}
    usage = {"model": "big", "choices": [], "usage": {"prompt_tokens": 2, "completion_tokens": 5}}
    body = [
        b": hello\r\n\r\nevent: x\r\nid: 1\r\n",
        chunk("a\u2028b").replace(b"\n", b"\r\n"),
        b'data: {"choices":\ndata: [{"delta": {"content": "\\ud83c"}}]}\n\n',
        chunk("ü")[:60],
        chunk("ü")[60:].replace(b"data: ", b"data:"),
        *(b"data:" + json.dumps(one).encode() + b"\n\n" for one in (call, more)),
        chunk("", "tool_calls"),
        b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\ndata: after\n\n",
    ]
    scripted.says((200, {}, body))
    *pieces, last = scripted.model().stream(ASK)
    expected = Reply("a\u2028b\ufffdü", (ToolCall("c", "f", "{}"),), Usage(2, 5), "tool_calls", None, "big")
    assert (last.reply, [piece.text for piece in pieces]) == (expected, ["a\u2028b", "\ufffd", "ü"])


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_where_a_stream_is_cut_does_not_matter(size: int) -> None:
    """As the specification's own examples have it (WHATWG HTML, 9.2.6)."""
    text = (
        b": test\n\ndata: YHOO\ndata: +2\ndata: 10\n\ndata\n\ndata:test\n\ndata: test\n\ndata:  two\r\n\r\ndata: lost"
    )
    pieces = [text[place : place + size] for place in range(0, len(text), size)]
    assert list(sse_data(pieces)) == ["YHOO\n+2\n10", "test", "test", " two"]


@pytest.mark.parametrize(
    "answer",
    [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": {"tool_calls": [{}]}}]}', b"[" * 100_000],
)
def test_answers_that_are_none(scripted: Scripted, answer: bytes) -> None:
    scripted.says((200, {}, answer))
    with pytest.raises(RemoteError):
        scripted.model().reply(ASK)
    assert len(scripted.asked) == 1


def test_answers_have_a_bound(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_BODY", 100_000)
    monkeypatch.setattr("seedbed.chat.transport.MAX_LINE", 100_000)
    scripted.says((200, {}, b" " * 200_000), (200, {}, [chunk("o"), b"data: " + b"x" * 200_000]))
    with pytest.raises(RemoteError):
        scripted.model().reply(ASK)
    with pytest.raises(RemoteError):
        list(scripted.model().stream(ASK))


def test_what_is_sent(scripted: Scripted) -> None:
    """OpenAI's fields by OpenAI's names, nothing that was not asked for."""
    scripted.says(OK)
    model = scripted.model(key="k3y")
    model.reply(ASK)
    model.reply(ASK, max_tokens=3, stop="x", tools=TOOLS, tool_choice="weather", logprobs=False, trace=print)
    model.reply(ASK, grammar=Grammar("json_schema", json.dumps(CLOSED)))
    model.reply(ASK, grammar=Grammar("json_schema", '{"type": "object"}'))
    plain = {"model": "m", "messages": [message.to_wire() for message in ASK]}
    bodies = [body for _, _, body in scripted.asked]
    choice = {"type": "function", "function": {"name": "weather"}}
    assert bodies[0] == plain
    tools = [tool.to_wire() for tool in TOOLS]
    assert bodies[1] == {**plain, "max_tokens": 3, "stop": ["x"], "tools": tools, "tool_choice": choice}
    closed = {"name": "reply", "schema": CLOSED, "strict": True}
    assert bodies[2]["response_format"] == {"type": "json_schema", "json_schema": closed}
    assert bodies[3]["response_format"]["json_schema"]["strict"] is False
    assert {headers["Authorization"] for _, headers, _ in scripted.asked} == {"Bearer k3y"}
    assert set(scripted.paths) == {CHAT}


def test_a_call_is_answered_and_the_model_goes_on(scripted: Scripted) -> None:
    """The conversation that OpenAI's guide to function calling shows, with a function of Python."""
    arguments = '{"word": "strawberry", "letter": "r"}'
    call = {"id": "call_1", "type": "function", "function": {"name": "count_letters", "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    asks = {**ANSWER, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    model, tools = scripted.says((200, {}, asks), OK).model(), [Tool("count_letters", "Count a letter in a word.")]
    asked = model.reply(ASK, tools=tools)
    assert asked.finish == "tool_calls"
    [found] = asked.tool_calls
    count = str(str.count(*json.loads(found.arguments).values()))
    result = Message("tool", count, tool_call_id=found.id)
    assert model.reply([*ASK, asked.message, result], tools=tools).text == "hi"
    said = scripted.asked[1][2]["messages"][-2:]
    assert said[0]["tool_calls"] == [call]
    assert said[1] == {"role": "tool", "content": "3", "tool_call_id": "call_1"}


def test_the_environment_s_proxy_is_not_used(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    assert scripted.says(OK).model().reply(ASK).text == "hi"


def test_a_server_that_tells_nothing(scripted: Scripted) -> None:
    """Tokens are estimated, the window must be given, nothing is scored; the missing route is asked for once."""
    scripted.says(OK).at("/tokenize", {"detail": "Not Found"}, 404).at("/v1/models", {"data": [{"id": "m"}]})
    model = scripted.model()
    assert [model.count_tokens(text) for text in ("", "abc", "abcd")] == [0, 1, 2]
    assert model.count_prompt(ASK) == 4 + 5 + 4 + 7  # "system" + 9 characters, "user" + 15: 15 and 19 of them
    assert scoring(model) is None
    with pytest.raises(UsageError, match="cannot score"):
        model.score(ASK, "x")
    with pytest.raises(UsageError, match="window of m is unknown"):
        _ = model.context_window
    assert scripted.model(window=99).context_window == 99
    assert scripted.paths.count("/tokenize") == 2  # one for each model


@pytest.mark.parametrize(("body", "status"), [({"error": "Unexpected endpoint"}, 200), ({}, 405), ("", 403)])
def test_other_ways_to_have_no_tokenizer(scripted: Scripted, body: Any, status: int) -> None:
    assert scripted.at("/tokenize", body, status).model().count_tokens("abcd") == 2  # estimated


def test_a_server_that_tells_its_window_as_vllm_does(scripted: Scripted) -> None:
    scripted.at("/v1/models", {"data": [{"id": "other", "max_model_len": 1}, {"id": "m", "max_model_len": 4096}]})
    assert scripted.model().context_window == 4096


@pytest.mark.parametrize("listed", [{"data": []}, {"data": [{"id": "a"}, {"id": "b"}]}, 3])
def test_a_server_with_several_models_wants_a_name(scripted: Scripted, listed: Any) -> None:
    model = RemoteModel(scripted.at("/v1/models", listed).url)
    with pytest.raises(UsageError, match="no model was named"):
        model.reply(ASK)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host",
        "http://",
        "http://me:pw@host",
        "http://host?key=1",
        "http://host#m",
        "http://[",
        "file:///",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(UsageError, match="is not the URL of an API"):
        RemoteModel(url)


@pytest.mark.parametrize(
    ("url", "base"), [("http://h", "http://h/v1"), ("http://h:1/", "http://h:1/v1"), ("http://h/a/", "http://h/a")]
)
def test_where_the_api_is(url: str, base: str) -> None:
    assert RemoteModel(url, "m").url == base


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel"])
def test_a_key_that_no_header_can_hold(key: str) -> None:
    with pytest.raises(UsageError, match="key cannot be sent"):
        RemoteModel("http://127.0.0.1", "m", key)


@pytest.mark.parametrize("options", [{"temperature": float("nan")}, {"tools": [Tool("x", "", {"a": {1}})]}])
def test_what_json_cannot_hold(scripted: Scripted, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="request cannot be sent"):
        scripted.model().reply(ASK, **options)


Ask = Callable[[RemoteModel, Callable[[TraceEvent], None]], object]


@pytest.mark.parametrize(
    "ask",
    [lambda model, trace: model.reply(ASK, trace=trace), lambda model, trace: list(model.stream(ASK, trace=trace))],
)
def test_a_trace_is_told(scripted: Scripted, ask: Ask) -> None:
    events: list[TraceEvent] = []
    scripted.says((400, {}, b"no"))
    with pytest.raises(UsageError):
        ask(scripted.model(), events.append)
    assert [(event.kind, event.what, event.name) for event in events] == [
        ("start", "model", "m"),
        ("error", "model", "m"),
    ]
