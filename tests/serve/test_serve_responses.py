"""Responses: events as the official client reads them, conversations that go on, storage that outlives a server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai.types.responses import Response
from serving import SMALL, Live

from seedbed.serve.response_bodies import ResponseRequest
from seedbed.serve.response_store import ResponseStore, StoredResponse
from seedbed.serve.settings import ServeSettings

PATH = "/v1/responses"
HOT = {"input": "What is a seed?", "temperature": 1.5, "seed": 7, "max_output_tokens": 30}
TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"days": {"enum": [1, 2]}},
        "required": ["days"],
        "additionalProperties": False,
    },
}
LONG = {**HOT, "logit_bias": {str(token): -100 for token in range(6)}, "max_output_tokens": 400}


def events(live: Live, **body: Any) -> list[dict[str, Any]]:
    with live.client.stream("POST", PATH, json={"model": "tiny", "stream": True, **body}) as response:
        assert response.status_code == 200
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item.get("content", []))


def client(live: Live) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.key, max_retries=0)


def test_a_response_has_openais_shape_and_is_the_chats_reply(live: Live) -> None:
    found = live.ok(PATH, **HOT)
    Response.model_validate(found)
    chat = live.ok(
        "/v1/chat/completions",
        messages=[{"role": "user", "content": HOT["input"]}],
        temperature=1.5,
        seed=7,
        max_tokens=30,
    )
    assert text_of(found) == chat["choices"][0]["message"]["content"]
    used = [found["usage"][key] for key in ("input_tokens", "output_tokens", "total_tokens")]
    assert used == [chat["usage"][key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")]
    assert used[0] != used[1]


@pytest.mark.parametrize("seed", range(3))
def test_events_tell_the_whole_response(live: Live, seed: int) -> None:
    body = {
        **LONG,
        "max_output_tokens": 20,
        "seed": seed,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 1,
    }
    told, whole = events(live, **body), live.ok(PATH, **body)
    assert [one["sequence_number"] for one in told] == list(range(len(told)))
    kinds = [one["type"].removeprefix("response.") for one in told]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "incomplete"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert "".join(one["delta"] for one in told if one["type"].endswith("text.delta")) == text_of(whole)
    last = told[-1]["response"]
    assert text_of(last) == text_of(whole)
    assert [part["logprobs"] for part in last["output"][0]["content"]] == [
        part["logprobs"] for part in whole["output"][0]["content"]
    ]
    assert (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})


def test_the_official_client_reads_the_stream(live: Live) -> None:
    ending = {"logit_bias": {"1": 100}}  # the end token
    with client(live).responses.stream(model="tiny", input="Hi", extra_body=ending) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert (kinds[-1], final.status, final.output_text) == ("response.completed", "completed", "")


def test_a_call_and_its_result_go_on_in_the_next_response(live: Live) -> None:
    body = {**HOT, "tools": [TOOL], "tool_choice": "required", "max_output_tokens": 200}
    told = events(live, **body)
    kinds = [one["type"] for one in told]
    assert "response.function_call_arguments.delta" in kinds
    first = told[-1]["response"]
    Response.model_validate(first)
    [call] = first["output"]
    assert json.loads(call["arguments"])["days"] in (1, 2)
    assert "".join(one["delta"] for one in told if one["type"].endswith("arguments.delta")) == call["arguments"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    second = live.ok(PATH, **{**HOT, "input": [result]}, tools=[TOOL], previous_response_id=first["id"])
    items = live.client.get(f"{PATH}/{second['id']}/input_items", params={"order": "asc"}).json()["data"]
    assert [item["type"] for item in items] == ["message", "function_call", "function_call_output"]
    lost = live.post(PATH, **{**HOT, "input": [result]})
    assert lost.status_code == 400


def test_a_conversation_goes_on_as_if_it_were_sent_whole(live: Live) -> None:
    first = live.ok(PATH, **HOT)
    second = live.ok(PATH, **{**HOT, "input": "And then?"}, previous_response_id=first["id"], instructions="Be brief.")
    whole = [
        {"role": "user", "content": HOT["input"]},
        {"role": "assistant", "content": text_of(first)},
        {"role": "user", "content": "And then?"},
    ]
    alone = live.ok(PATH, **{**HOT, "input": whole}, instructions="Be brief.", store=False)
    assert text_of(second) == text_of(alone)
    assert second["usage"] == alone["usage"]
    assert live.client.get(f"{PATH}/{alone['id']}").status_code == 404


def test_stored_responses_can_be_read_listed_and_deleted(live: Live) -> None:
    found = live.ok(PATH, **HOT, metadata={"topic": "seeds"})
    path = f"{PATH}/{found['id']}"
    assert live.client.get(path).json() == found
    assert found["metadata"] == {"topic": "seeds"}
    items = client(live).responses.input_items.list(found["id"])
    assert [item.content[0].text for item in items] == [HOT["input"]]  # type: ignore[union-attr]
    other = live.connect(live.keys.create("other"))
    for response in (
        other.get(path),
        other.delete(path),
        other.get(f"{path}/input_items"),
        other.post(f"{path}/cancel"),
    ):
        assert response.status_code == 404
    assert other.post(PATH, json={"model": "tiny", **HOT, "previous_response_id": found["id"]}).status_code == 404
    assert live.client.post(f"{path}/cancel").status_code == 400
    assert live.client.delete(path).json()["deleted"] is True
    assert live.client.delete(path).status_code == live.client.get(path).status_code == 404


def test_items_come_in_pages(live: Live) -> None:
    items = [{"role": "user", "content": str(place)} for place in range(5)]
    found = live.ok(PATH, **{**HOT, "input": items})
    path = f"{PATH}/{found['id']}/input_items"
    seen, after = [], None
    while True:
        page = live.client.get(path, params={"limit": 2, "order": "asc", **({"after": after} if after else {})}).json()
        seen += [item["content"] for item in page["data"]]
        after = page["last_id"]
        if not page["has_more"]:
            break
    assert seen == list("01234")
    for query in ({"limit": 0}, {"limit": "x"}, {"after": "missing"}, {"order": "up"}, {"before": "x"}):
        assert live.client.get(path, params=query).status_code == 400


def test_responses_outlive_the_server(start: Callable[..., Live]) -> None:
    first = start()
    found = first.ok(PATH, **HOT)
    first.close()
    second = start()
    kept = second.connect(first.key)
    assert kept.get(f"{PATH}/{found['id']}").json() == found
    assert second.client.get(f"{PATH}/{found['id']}").status_code == 404


def test_a_response_can_be_cancelled_while_it_is_written(live: Live) -> None:
    with live.client.stream("POST", PATH, json={"model": "tiny", "stream": True, **LONG}) as response:
        lines = (json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {"))
        created = next(lines)["response"]
        told: list[dict[str, Any]] = []
        reading = threading.Thread(target=lambda: told.extend(lines))
        reading.start()
        cancelled = live.client.post(f"{PATH}/{created['id']}/cancel")
        reading.join()
    if cancelled.status_code == 400:  # it was done first
        assert told[-1]["type"] in ("response.completed", "response.incomplete")
        return
    assert cancelled.json()["status"] == "cancelled"
    assert told[-1]["type"] == "response.failed"
    assert live.client.get(f"{PATH}/{created['id']}").json()["status"] == "cancelled"
    live.until(live.idle)


def test_a_long_conversation_loses_its_oldest_turns_only_where_asked_to(live: Live) -> None:
    long = [{"role": "user", "content": "x" * 400}] * 4
    assert live.post(PATH, **{**HOT, "input": long}).json()["error"]["code"] == "context_length_exceeded"
    assert live.ok(PATH, **{**HOT, "input": long}, truncation="auto")["usage"]["input_tokens"] < 1024


@pytest.mark.parametrize("name", ResponseRequest.refused)
def test_a_known_field_is_refused_by_name_unless_it_asks_for_nothing(live: Live, name: str) -> None:
    neutral, _ = ResponseRequest.refused[name]
    for value in (None, *neutral[:2]):
        assert live.post(PATH, input="x", max_output_tokens=1, store=False, **{name: value}).status_code == 200
    response = live.post(PATH, input="x", max_output_tokens=1, **{name: {"something": "else"}})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == name


def test_the_official_clients_fields_are_all_known() -> None:
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming as Params

    known = {
        field.alias or name for name, field in ResponseRequest.model_fields.items()
    } | ResponseRequest.refused.keys()
    assert set(Params.__annotations__) <= known


@pytest.mark.parametrize(
    "broken",
    [
        {"input": []},
        {"input": [{"type": "reasoning", "id": "x", "summary": []}]},
        {"input": [{"type": "item_reference", "id": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
        {"tools": [{"type": "web_search"}]},
        {"include": ["reasoning.encrypted_content"]},
        {"top_logprobs": 3},
        {"text": {"format": {"type": "xml"}}},
        {"previous_response_id": "resp_unknown"},
        {"metadata": {"a": 1}},
    ],
    ids=str,
)
def test_what_cannot_be_honoured_is_refused(live: Live, broken: dict[str, Any]) -> None:
    response = live.post(PATH, **{**HOT, **broken})
    assert response.status_code == (404 if "previous_response_id" in broken else 400), response.text


def test_storage_is_capped_by_size_and_age(tmp_path: Any) -> None:
    def stored(number: int) -> StoredResponse:
        return StoredResponse({"id": f"r{number}", "text": "x" * 1000}, [])

    store = ResponseStore(tmp_path / "r.sqlite3", room=3500, age=1e9)
    for number in range(5):
        store.put("me", stored(number))
    store.put("you", stored(9))
    assert [number for number in range(5) if store.get("me", f"r{number}")] == [2, 3, 4]
    assert store.get("you", "r9")
    assert ResponseStore(tmp_path / "r.sqlite3", room=3500, age=-1).get("me", "r4") is None
    assert (tmp_path / "r.sqlite3").stat().st_mode & 0o777 == 0o600


def test_settings_reach_the_store(start: Callable[..., Live]) -> None:
    tight = ServeSettings(memory_bytes=SMALL.memory_bytes, cache_bytes=SMALL.cache_bytes, stored_bytes=1)
    live = start(tight)
    assert live.client.get(f"{PATH}/{live.ok(PATH, **HOT)['id']}").status_code == 404


def test_several_calls_and_their_results(live: Live) -> None:
    [mark] = live.ok("/tokenize", prompt="<", add_special_tokens=False)["tokens"]
    bias = {"logit_bias": {str(mark): 100}}  # after a call: another one rather than the end
    body = {
        **HOT,
        "tools": [TOOL],
        "tool_choice": "required",
        "max_output_tokens": 400,
        "parallel_tool_calls": True,
        **bias,
    }
    told = events(live, **body)
    first = told[-1]["response"]
    Response.model_validate(first)
    assert first["parallel_tool_calls"] is True
    calls = first["output"]
    assert len(calls) > 1
    assert len({call["call_id"] for call in calls}) == len(calls)
    for place, call in enumerate(calls):
        mine = [one for one in told if one.get("output_index") == place and one["type"].endswith("arguments.delta")]
        assert "".join(one["delta"] for one in mine) == call["arguments"]
    whole = [call for call in calls if call["status"] == "completed"]
    given = [{"type": "message", "role": "user", "content": HOT["input"]}, *whole]
    results = [{"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"} for call in whole]
    assert live.ok(PATH, **{**HOT, "input": [*given, *results]}, tools=[TOOL])["status"]
