"""Refusals name the field at fault, what was sent there and what is read; unread keywords cost a tool, not a chat."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest
from serving import Live, add_model

from seedbed.core.artifacts import Library

CHAT, RESPONSES, COMPLETIONS, TOKENIZE = "/v1/chat/completions", "/v1/responses", "/v1/completions", "/tokenize"
ASK = [{"role": "user", "content": "Hi"}]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
STRING = {"type": "string"}


def said(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def tool(parameters: Any, name: str = "save_note", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def having(schema: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"value": schema}, "required": ["value"], **more}


@pytest.mark.parametrize(
    ("path", "body", "param", "words"),
    [
        (CHAT, said([{"type": "text", "text": "x"}, PICTURE]), "messages.0.content.1.type", "'image_url'"),
        (CHAT, said([{"type": "input_audio", "input_audio": {}}]), "messages.0.content.0.type", "read text"),
        (CHAT, said([{"type": "file", "file": {"file_id": "x"}}]), "messages.0.content.0.type", "'file'"),
        (CHAT, said([{"type": "text"}]), "messages.0.content.0.text", "missing"),
        (CHAT, said([{"text": "x"}]), "messages.0.content.0.type", "missing"),
        (CHAT, said([{"type": "text", "text": 5}]), "messages.0.content.0.text", "a text is read here; the number 5"),
        (CHAT, said(["x"]), "messages.0.content.0", "an object is read here; the text 'x'"),
        (CHAT, said(5), "messages.0.content", "a text or a list is read here; the number 5 was sent"),
        (CHAT, said({"text": "x"}), "messages.0.content", "a text or a list is read here; an object"),
        (CHAT, said([{"type": "text", "text": "x", "txet": 1}]), "messages.0.content.0.txet", "did you mean text?"),
        (CHAT, {"messages": "Hi"}, "messages", "a list is read here; the text 'Hi' was sent"),
        (CHAT, {}, "messages", "missing"),
        (CHAT, {"messages": [*ASK, "x"]}, "messages.1", "an object is read here"),
        (CHAT, {"messages": ASK, "temprature": 1}, "temprature", "did you mean temperature?"),
        (CHAT, {"messages": ASK, "num_ctx": 1}, "num_ctx", "no such field"),
        (CHAT, {"messages": ASK, "stop": 5}, "stop", "a text or a list is read here; the number 5"),
        (CHAT, {"messages": ASK, "stop": ["x", None]}, "stop.1", "a text is read here; null was sent"),
        (CHAT, {"messages": ASK, "tools": [tool({})], "tool_choice": "sometimes"}, "tool_choice", "'auto'"),
        (
            CHAT,
            {"messages": ASK, "tool_choice": {"type": "function", "name": "x"}},
            "tool_choice.name",
            "no such field",
        ),
        (CHAT, {"messages": ASK, "stream": "yes"}, "stream", "true or false is read here; the text 'yes'"),
        (CHAT, {"messages": ASK, "max_tokens": 1.5}, "max_tokens", "a whole number is read here; the number 1.5"),
        (CHAT, {"messages": ASK, "logprobs": 5}, "logprobs", "true or false is read here; the number 5"),
        (
            RESPONSES,
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input.0.content.0.type",
            "'input_image'",
        ),
        (RESPONSES, {"input": [{"type": "web_search_call", "id": "x"}]}, "input.0", "'web_search_call' was sent"),
        (RESPONSES, {"input": {"role": "user"}}, "input", "a text or a list is read here; an object"),
        (RESPONSES, {"input": [{"type": "reasoning", "summary": []}]}, "input.0", "'function_call'"),
        (COMPLETIONS, {"prompt": [1, "x"]}, "prompt.1", "a whole number is read here; the text 'x'"),
        (COMPLETIONS, {"prompt": {"text": "x"}}, "prompt", "a text or a list is read here"),
        (COMPLETIONS, {"prompt": [[1, 2], [3, None]]}, "prompt.1.1", "a whole number is read here; null"),
        ("/v1/embeddings", {"input": [True]}, "input.0", "true was sent"),
        (TOKENIZE, said([PICTURE]), "messages.0.content.0.type", "'image_url'"),
    ],
)
def test_the_field_at_fault_is_named(live: Live, path: str, body: Any, param: str, words: str) -> None:
    response = live.post(path, **body)
    error = response.json()["error"]
    assert (response.status_code, error["param"]) == (400, param), error
    assert error["message"].startswith(f"{param}: ")
    assert words in error["message"]
    assert "str]" not in error["message"]
    assert "list[" not in error["message"]


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_a_body_that_is_no_object_is_told(live: Live, path: str) -> None:
    response = live.client.post(path, json=["x"])
    assert response.status_code == 400
    assert response.json()["error"]["message"] == "the body: an object is read here; a list was sent"


def test_what_clients_send_back_of_an_earlier_answer_is_read(live: Live) -> None:
    """The message of a reply, as the official client dumps it: all its fields, and the number of a call."""
    call = {"id": "call_1", "type": "function", "function": {"name": "save_note", "arguments": "{}"}}
    cited = {"start_index": 0, "end_index": 2, "title": "x", "url": "y"}
    place = {"type": "url_citation", "url_citation": cited}
    earlier = {"role": "assistant", "content": "Hi", "refusal": None, "annotations": [place], "audio": None}
    told = [
        *ASK,
        {**earlier, "tool_calls": [{**call, "index": 0}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "done"},
    ]
    plain = [*ASK, {"role": "assistant", "content": "Hi", "tool_calls": [call]}, told[-1]]
    assert live.ok(TOKENIZE, messages=told) == live.ok(TOKENIZE, messages=plain)
    part = {"type": "output_text", "text": "Hi", "annotations": [cited], "logprobs": []}
    items = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [part]},
        {"role": "user", "content": "?"},
    ]
    assert live.post(RESPONSES, input=items, max_output_tokens=1, store=False).status_code == 200


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_that_is_sent_back_is_explained(live: Live, name: str) -> None:
    message = {"role": "assistant", "content": "Hi"}
    assert live.post(CHAT, messages=[*ASK, {**message, name: ""}, *ASK], max_tokens=1).status_code == 200
    error = live.post(CHAT, messages=[*ASK, {**message, name: "Let me see."}, *ASK]).json()["error"]
    assert error["param"] == f"messages.1.{name}"
    assert "leave it out, or write it into content" in error["message"]


@pytest.mark.parametrize(
    ("schema", "keyword"),
    [
        ({"type": "array", "items": STRING, "uniqueItems": True}, "uniqueItems"),
        ({"type": "array", "contains": STRING}, "contains"),
        ({"type": "string", "format": "iri"}, "format iri"),
        ({"type": "string", "pattern": "^(?!x).+$"}, "pattern"),
        ({"type": "object", "propertyNames": {"pattern": "^a"}}, "propertyNames"),
        ({"not": {"type": "null"}}, "not"),
        ({"type": "object", "properties": {"a": STRING, "b": STRING}, "minProperties": 1}, "minProperties"),
        ({"type": "object", "properties": {"a": STRING}, "dependentRequired": {"a": ["b"]}}, "dependentRequired"),
    ],
)
def test_a_keyword_that_cannot_be_kept_costs_no_chat(live: Live, schema: dict[str, Any], keyword: str) -> None:
    tools = [tool(having(STRING), "clock"), tool(having(schema))]
    found = live.ok(CHAT, messages=ASK, tools=tools, max_tokens=2)
    [line] = found["unenforced"]
    assert line.startswith("tool save_note: ")
    assert keyword in line
    assert "unenforced" not in live.ok(CHAT, messages=ASK, tools=tools[:1], max_tokens=2)
    strict = live.post(CHAT, messages=ASK, tools=[tools[0], tool(having(schema), strict=True)], max_tokens=2)
    message = strict.json()["error"]["message"]
    assert strict.status_code == 400
    assert "save_note" in message
    assert keyword in message
    assert len(message) < 300


def test_a_response_and_a_stream_say_what_is_not_kept(live: Live) -> None:
    schema = having({"type": "array", "items": STRING, "uniqueItems": True})
    flat = {"type": "function", "name": "save_note", "parameters": schema}
    found = live.ok(RESPONSES, input="Hi", tools=[flat], max_output_tokens=2, store=False)
    assert found["unenforced"] == ["tool save_note: uniqueItems"]
    lines = live.post(CHAT, messages=ASK, tools=[tool(schema)], max_tokens=2, stream=True).text.splitlines()
    assert json.loads(lines[0].removeprefix("data: "))["unenforced"] == ["tool save_note: uniqueItems"]


def test_a_reply_format_is_strict_unless_it_says_otherwise(live: Live) -> None:
    form = {"name": "note", "schema": having({"type": "array", "items": {"enum": [1]}, "uniqueItems": True})}

    def asked(**more: Any) -> Any:
        wanted = {"type": "json_schema", "json_schema": {**form, **more}}
        return live.post(CHAT, messages=ASK, response_format=wanted, max_tokens=60, temperature=0)

    message = asked().json()["error"]["message"]
    assert "uniqueItems" in message
    assert "strict" in message
    found = asked(strict=False).json()
    assert found["unenforced"] == ["the json_schema: uniqueItems"]


@pytest.mark.parametrize(
    "broken",
    [
        {"type": "OBJECT", "properties": {}},
        having({"$ref": "#/$defs/nothing"}),
        having({"type": "any"}),
        having({"$ref": "https://example.com/schema.json"}),
    ],
)
def test_a_schema_that_is_none_is_told_by_its_tool(live: Live, broken: dict[str, Any]) -> None:
    response = live.post(CHAT, messages=ASK, tools=[tool(having(STRING), "clock"), tool(broken)])
    assert response.status_code == 400
    assert "save_note" in response.json()["error"]["message"]
    assert "clock" not in response.json()["error"]["message"]
    assert "start:" not in response.json()["error"]["message"]


A, B = having({"enum": [1, 2]}), {"type": "object", "properties": {"b": {"const": "x"}}, "required": ["b"]}


@pytest.mark.parametrize(
    "schema",
    [
        having({"oneOf": [A, B]}),
        having({"type": "string", "enum": ["a"], "default": "a", "title": "t", "examples": ["a"], "deprecated": True}),
        having({"type": ["integer", "null"], "minimum": 3, "maximum": 5}),
        having({"type": "string", "format": "date"}),
        having({"type": "string", "format": "uuid"}),
        having({"type": "string", "format": "ipv4"}),
        having({"type": "string", "pattern": "^[ab]{2}$"}),
        having({"type": "string", "minLength": 1, "maxLength": 3}),
        having({"type": "array", "items": {"$ref": "#/$defs/one"}, "maxItems": 2}, **{"$defs": {"one": {"const": 7}}}),
        having({"type": "array", "items": {"const": 7}, "uniqueItems": False, "maxItems": 2}),
        having({"anyOf": [{"const": 1}, {"type": "null"}]}, additionalProperties=False),
        having({"type": "number", "multipleOf": 5, "minimum": 0, "maximum": 20}),
        having({"allOf": [{"type": "integer"}, {"minimum": 3, "maximum": 4}]}),
    ],
)
def test_what_strict_mode_knows_is_kept(live: Live, schema: dict[str, Any]) -> None:
    """An independent validator agrees with calls of a model of random weights, at a high temperature."""
    for seed in range(3):
        body = {"messages": ASK, "tools": [tool(schema, strict=True)], "tool_choice": "required", "temperature": 2.0}
        found = live.ok(CHAT, **body, seed=seed, max_tokens=300)
        [choice] = found["choices"]
        assert "unenforced" not in found
        assert choice["finish_reason"] == "tool_calls"
        [call] = choice["message"]["tool_calls"]
        assert jsonschema_rs.is_valid(schema, json.loads(call["function"]["arguments"]), validate_formats=True)


TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['content'] }}{{ eos_token }}{% endfor %}"
    "{% if enable_thinking %}[thinking]{% endif %}{% if language is defined %}[{{ language }}]{% endif %}"
)


def test_variables_reach_the_chat_template(live: Live, thinker: str) -> None:
    def prompt(**variables: Any) -> str:
        ids = live.ok(TOKENIZE, model=thinker, messages=ASK, chat_template_kwargs=variables)["tokens"]
        text: str = live.ok("/detokenize", model=thinker, tokens=ids)["prompt"]
        return text

    assert prompt() == prompt(enable_thinking=False) == "Hi"
    assert prompt(enable_thinking=True, language="de") == "Hi[thinking][de]"
    body = {"model": thinker, "messages": ASK, "max_tokens": 1}
    plain = live.ok(CHAT, **body)["usage"]["prompt_tokens"]
    told = live.ok(CHAT, **body, chat_template_kwargs={"enable_thinking": True})["usage"]["prompt_tokens"]
    assert told == plain + len("[thinking]")


def test_variables_that_would_do_nothing_are_refused(live: Live, thinker: str) -> None:
    def error(**body: Any) -> str:
        response = live.post(CHAT, **{"messages": ASK, "max_tokens": 1, **body})
        assert response.status_code == 400, response.text
        message: str = response.json()["error"]["message"]
        return message

    assert "'enable_thinking'" in error(chat_template_kwargs={"enable_thinking": True})
    assert (
        live.post(CHAT, messages=ASK, max_tokens=1, chat_template_kwargs={"enable_thinking": False}).status_code == 200
    )
    assert "enable_thinking, language" in error(model=thinker, chat_template_kwargs={"thinking": True})
    assert "set by the conversation" in error(model=thinker, chat_template_kwargs={"bos_token": "x"})
    assert "chat_template_kwargs" in error(model=thinker, chat_template_kwargs={"language": "<|end|>"})
    assert "chat_template_kwargs" in error(enable_thinking=True)


@pytest.fixture(scope="module")
def thinker(library: Library) -> str:
    """A model whose chat template reads variables of its own."""
    add_model(library, "thinker", 9, template=TEMPLATE)
    return "thinker"
