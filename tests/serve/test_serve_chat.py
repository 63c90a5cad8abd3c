"""Chat completions: streamed as whole, log-probabilities as a plain forward's, every field honoured or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema_rs
import openai
import pytest
import torch
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from serving import Live, add_chain

from seedbed.core.artifacts import Library
from seedbed.models.store import LoadedModel
from seedbed.serve.bodies import ChatRequest

PATH = "/v1/chat/completions"
ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a seed?"}]
HOT = {"messages": ASK, "temperature": 1.5, "seed": 7, "max_tokens": 40}
UNENDING = {str(token): -100 for token in range(6)}  # the special tokens, which would end a reply
WEATHER = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Bonn"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "stop_it"}},
]


def chunks(live: Live, **body: Any) -> list[dict[str, Any]]:
    with live.client.stream("POST", PATH, json={"model": "tiny", "stream": True, **body}) as response:
        assert response.status_code == 200
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    found = [json.loads(line) for line in lines[:-1]]
    for one in found:
        ChatCompletionChunk.model_validate(one)
    return found


def prompt_of(loaded: LoadedModel) -> list[int]:
    return loaded.tokenizer.encode_chat(ASK, add_generation_prompt=True)[0]


def test_an_answer_has_openais_shape(live: Live) -> None:
    found = live.ok(PATH, **HOT)
    ChatCompletion.model_validate(found)
    assert found["choices"][0]["finish_reason"] in ("stop", "length")
    assert found["usage"]["total_tokens"] == found["usage"]["prompt_tokens"] + found["usage"]["completion_tokens"]


@pytest.mark.parametrize("seed", range(4))
def test_streamed_is_unstreamed(live: Live, seed: int) -> None:
    """Random bytes: characters are cut between tokens all the time."""
    body = {**HOT, "seed": seed, "n": 3, "logprobs": True, "top_logprobs": 2}
    whole = live.ok(PATH, **body)
    streamed = chunks(live, **body, stream_options={"include_usage": True})
    for choice in whole["choices"]:
        mine = [one for chunk in streamed for one in chunk["choices"] if one["index"] == choice["index"]]
        assert "".join(one["delta"].get("content", "") for one in mine) == choice["message"]["content"]
        assert mine[-1]["finish_reason"] == choice["finish_reason"]
        got = [entry for one in mine if one["logprobs"] for entry in one["logprobs"]["content"]]
        assert got == choice["logprobs"]["content"]
    assert streamed[-1]["usage"] == whole["usage"]
    assert all(chunk["usage"] is None for chunk in streamed[:-1])


def test_each_of_n_is_the_reply_to_the_next_seed(live: Live) -> None:
    several = live.ok(PATH, **HOT, n=3)["choices"]
    alone = [live.ok(PATH, **{**HOT, "seed": 7 + index})["choices"][0] for index in range(3)]
    assert [one["message"] for one in several] == [one["message"] for one in alone]
    assert len({one["message"]["content"] for one in several}) == 3


def test_logprobs_are_the_models_own(
    live: Live, loaded: LoadedModel, logprobs: Callable[[list[int]], torch.Tensor]
) -> None:
    """The same tokens and numbers as a forward over prompt and reply, whatever temperature and penalties did."""
    body = {**HOT, "presence_penalty": 1.0, "logit_bias": {**UNENDING, "80": 3}, "logprobs": True, "top_logprobs": 3}
    entries = live.ok(PATH, **body)["choices"][0]["logprobs"]["content"]
    table = {loaded.tokenizer.token_bytes(one): one for one in range(loaded.tokenizer.vocab_size)}
    prompt, ids = prompt_of(loaded), [table[bytes(entry["bytes"])] for entry in entries]
    assert len(ids) == 40
    rows = logprobs(prompt + ids)[len(prompt) - 1 : -1]
    expected = rows.gather(1, torch.tensor(ids)[:, None])[:, 0]
    assert torch.allclose(torch.tensor([entry["logprob"] for entry in entries]), expected, atol=1e-4)
    for entry, row in zip(entries, rows, strict=True):
        best = row.topk(3)
        found = [one["logprob"] for one in entry["top_logprobs"]]
        assert torch.allclose(torch.tensor(found), best.values, atol=1e-4)
        assert [table.get(bytes(one["bytes"]), -1) for one in entry["top_logprobs"] if one["bytes"]] == [
            one for one in best.indices.tolist() if one not in loaded.tokenizer.special_ids
        ]


def test_a_stop_text_ends_the_reply_before_it(live: Live) -> None:
    body = {**HOT, "logit_bias": UNENDING}
    text = live.ok(PATH, **body)["choices"][0]["message"]["content"]
    stop = text[10:12]
    choice = live.ok(PATH, **body, stop=["never there", stop])["choices"][0]
    assert choice["message"]["content"] == text[: text.index(stop)]
    assert choice["finish_reason"] == "stop"
    streamed = "".join(
        one["choices"][0]["delta"].get("content", "") for one in chunks(live, **body, stop=stop) if one["choices"]
    )
    assert streamed == text[: text.index(stop)]
    live.until(live.idle)


def test_length_is_said(live: Live) -> None:
    found = live.ok(PATH, **{**HOT, "max_tokens": None}, max_completion_tokens=3, ignore_eos=True)
    assert found["choices"][0]["finish_reason"] == "length"
    assert found["usage"]["completion_tokens"] == 3


@pytest.mark.parametrize("seed", range(5))
def test_a_reply_follows_its_schema(live: Live, seed: int) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER, "strict": True}}
    body = {"messages": ASK, "seed": seed, "temperature": 2.0, "response_format": form}
    found = live.ok(PATH, **body)["choices"][0]
    assert jsonschema_rs.is_valid(WEATHER, json.loads(found["message"]["content"]))
    assert found["finish_reason"] == "stop"


def test_json_object_and_vllms_forms(live: Live) -> None:
    forced = {"messages": ASK, "temperature": 1.5, "seed": 3}
    biased = {"logit_bias": {str(live.ok("/tokenize", prompt="}")["tokens"][1]): 50}}
    found = live.ok(PATH, **forced, **biased, response_format={"type": "json_object"})
    assert isinstance(json.loads(found["choices"][0]["message"]["content"]), dict)
    forms: list[tuple[dict[str, Any], set[str]]] = [
        ({"choice": ["yes", "no"]}, {"yes", "no"}),
        ({"regex": "ab{2}c"}, {"abbc"}),
        ({"grammar": 'start: "x" "y"'}, {"xy"}),
        ({"json": {"const": 5}}, {"5"}),
    ]
    for form, allowed in forms:
        text = live.ok(PATH, **forced, structured_outputs=form)["choices"][0]["message"]["content"]
        assert text in allowed


@pytest.mark.parametrize(
    "broken",
    [
        {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
        {"response_format": {"type": "json_schema"}},
        {"structured_outputs": {"regex": "("}},
        {"structured_outputs": {"grammar": "start: nothing"}},
        {"structured_outputs": {"regex": "a", "choice": ["a"]}},
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
        {"structured_outputs": {"regex": "a"}, "tools": TOOLS},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "missing"}}, "tools": TOOLS},
        {"messages": []},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        {"messages": [{"role": "tool", "content": "x", "tool_call_id": "unseen"}]},
        {
            "messages": [
                {
                    "role": "user",
                    "content": "x",
                    "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}],
                }
            ]
        },
        {"stop": ["x"] * 17},
        {"stop": "x" * 257},
        {"stop": ""},
        {"n": 0},
        {"n": 17},
        {"n": True},
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"max_tokens": 5, "max_completion_tokens": 6},
        {"max_tokens": 10**30},
        {"temperature": -0.1},
        {"temperature": 1e300},
        {"temperature": "1"},
        {"top_p": 1.1},
        {"top_k": -1},
        {"seed": -(2**63) - 1},
        {"seed": 2**63},
        {"logprobs": True, "top_logprobs": 21},
        {"top_logprobs": 2},
        {"logit_bias": {"-1": 1}},
        {"logit_bias": {"99999": 1}},
        {"logit_bias": {"1": 101}},
        {"logit_bias": {str(one): 1 for one in range(301)}},
        {"stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_obfuscation": True}},
        {"user": "x" * 513},
        {"unheard_of": 1},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_what_cannot_be_honoured_is_refused(live: Live, broken: dict[str, Any]) -> None:
    response = live.post(PATH, **{"messages": ASK, "max_tokens": 2, **broken})
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert {"param", "code"} < set(error)


@pytest.mark.parametrize("name", ChatRequest.refused)
def test_a_known_field_is_refused_by_name_unless_it_asks_for_nothing(live: Live, name: str) -> None:
    neutral, why = ChatRequest.refused[name]
    for value in (None, *neutral):
        assert live.post(PATH, messages=ASK, max_tokens=1, **{name: value}).status_code == 200
    response = live.post(PATH, messages=ASK, max_tokens=1, **{name: {"something": "else"}})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == name
    assert why in response.json()["error"]["message"]


def test_the_official_clients_fields_are_all_known(live: Live) -> None:
    """Each parameter of OpenAI's own client is honoured, or refused with a reason of its own."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming as Params

    known = {field.alias or name for name, field in ChatRequest.model_fields.items()} | ChatRequest.refused.keys()
    assert set(Params.__annotations__) | set(Params.__mro__[0].__annotations__) <= known


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "weather"}}])
def test_a_required_call_is_made_with_arguments_by_the_schema(live: Live, choice: Any) -> None:
    for seed in range(4):
        body = {"messages": ASK, "tools": TOOLS, "tool_choice": choice, "temperature": 2.0, "seed": seed}
        found = live.ok(PATH, **body)
        ChatCompletion.model_validate(found)
        message, finish = found["choices"][0]["message"], found["choices"][0]["finish_reason"]
        assert (finish, message["content"]) == ("tool_calls", None)
        [call] = message["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])
        if call["function"]["name"] == "weather":
            assert jsonschema_rs.is_valid(WEATHER, arguments)
        else:
            assert choice == "required"
            assert (call["function"]["name"], arguments) == ("stop_it", {})
        streamed = [one["choices"][0] for one in chunks(live, **body)]
        deltas = [one for part in streamed for one in part["delta"].get("tool_calls", [])]
        assert deltas[0]["function"]["name"] == call["function"]["name"]
        assert "".join(one["function"]["arguments"] for one in deltas) == call["function"]["arguments"]
        assert streamed[-1]["finish_reason"] == "tool_calls"


def test_auto_is_free_text_or_text_that_ends_in_a_call(live: Live, library: Library) -> None:
    """A model that often writes the mark of a call by chance, and never its end token."""
    add_chain(library, "caller", {"<": "t", "t": "o", "o": "ol", "l": "_l>", "_": "c", "c": "a", "a": "l", ">": "<"})
    body = {"model": "caller", "messages": ASK, "tools": TOOLS, "seed": 1, "max_tokens": 200, "n": 12}
    choices = live.ok(PATH, **body)["choices"]
    assert {choice["finish_reason"] for choice in choices} == {"tool_calls", "length"}
    streamed = chunks(live, **body)
    for choice in choices:
        message = choice["message"]
        if choice["finish_reason"] == "tool_calls":
            assert "<tool_call>" not in (message["content"] or "")
            [call] = message["tool_calls"]
            functions = {tool["function"]["name"]: tool["function"] for tool in TOOLS}
            schema = functions[call["function"]["name"]].get("parameters", {"const": {}})
            assert jsonschema_rs.is_valid(schema, json.loads(call["function"]["arguments"]))
        mine = [one["delta"] for chunk in streamed for one in chunk["choices"] if one["index"] == choice["index"]]
        assert "".join(delta.get("content", "") for delta in mine) == (message["content"] or "")
        parts = [part["function"]["arguments"] for delta in mine for part in delta.get("tool_calls", [])]
        assert "".join(parts) == "".join(call["function"]["arguments"] for call in message.get("tool_calls", []))


def test_calls_and_results_are_part_of_the_conversation(live: Live) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    messages = [
        *ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
    ]
    ids = live.ok("/tokenize", messages=messages)["tokens"]
    text = live.ok("/detokenize", tokens=ids)["prompt"]
    assert '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>' in text
    assert '<tool_response name="weather">\nsunny\n</tool_response>' in text
    assert live.post(PATH, messages=messages, max_tokens=2, tools=TOOLS).status_code == 200


def test_a_name_is_said_before_what_it_says(live: Live) -> None:
    named = live.ok("/tokenize", messages=[{"role": "user", "name": "Ada", "content": "Hi"}])["tokens"]
    assert named == live.ok("/tokenize", messages=[{"role": "user", "content": "Ada: Hi"}])["tokens"]


def test_messages_cannot_write_special_tokens(live: Live, loaded: LoadedModel) -> None:
    """Every special token spelled in contents, arguments, results and function names stays text."""
    spelled = "".join(name for name in ("<|end|>", "<|system|>", "<|assistant|>", "<|bos|>", "<|pad|>"))

    def specials(text: str) -> list[int]:
        call = {"id": "a", "function": {"name": "f", "arguments": json.dumps({"x": text})}}
        messages = [
            {"role": "system", "content": text},
            {"role": "user", "content": [{"type": "text", "text": text}, {"type": "text", "text": text}]},
            {"role": "assistant", "content": text, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "a", "content": text},
        ]
        found = live.ok("/tokenize", messages=messages)["tokens"]
        return [one for one in found if one in loaded.tokenizer.special_ids]

    assert specials(spelled) == specials("harmless")
    assert specials("{{ bos_token }}{% raise %}{{ messages }}") == specials("harmless")


def test_messages_of_every_private_character_are_refused(live: Live) -> None:
    """Contents are told apart by characters that occur nowhere else; these leave none."""
    every = "".join(map(chr, range(0xF0000, 0xFFFFE)))
    assert live.post(PATH, messages=[{"role": "user", "content": every}]).status_code == 400


def test_a_prompt_that_is_too_long_says_so(live: Live) -> None:
    response = live.post(PATH, messages=[{"role": "user", "content": "x" * 1100}])
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


def test_provenance_names_what_made_a_reply(live: Live, loaded: LoadedModel) -> None:
    response = live.post(PATH, **HOT)
    header = dict(part.split("=") for part in response.headers["x-seedbed-provenance"].split("; "))
    assert header["model"] == loaded.artifact.id
    assert header["tokenizer"] == loaded.tokenizer.hash
    assert (header["quantization"], header["seed"]) == ("none", "7")
    assert loaded.artifact.id[:12] in response.json()["system_fingerprint"]
    unseeded = live.post(PATH, messages=ASK, max_tokens=12)
    seed = int(unseeded.headers["x-seedbed-provenance"].rpartition("=")[2])
    again = live.ok(PATH, messages=ASK, max_tokens=12, seed=seed)
    assert again["choices"][0]["message"] == unseeded.json()["choices"][0]["message"]


def test_a_seed_may_be_negative(live: Live) -> None:
    """As OpenAI's may; the header names the seed that the engine used, which gives the same reply."""
    response = live.post(PATH, **{**HOT, "seed": -7})
    seed = int(response.headers["x-seedbed-provenance"].rpartition("=")[2])
    texts = [live.ok(PATH, **{**HOT, "seed": one})["choices"][0]["message"]["content"] for one in (-7, seed, 7)]
    assert response.json()["choices"][0]["message"]["content"] == texts[0] == texts[1] != texts[2]


def test_the_official_client_talks_with_it(live: Live) -> None:
    client = openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.key)
    answer = client.chat.completions.create(model="tiny", messages=ASK, max_tokens=5, seed=1)
    parts = client.chat.completions.create(model="tiny", messages=ASK, max_tokens=5, seed=1, stream=True)
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == answer.choices[0].message.content
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{live.url}/v1", api_key="sb-wrong").models.list()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="missing", messages=ASK)
    with pytest.raises(openai.BadRequestError, match="reasoning_effort"):
        client.chat.completions.create(model="tiny", messages=ASK, reasoning_effort="high")


def test_several_calls_in_one_reply(live: Live, library: Library) -> None:
    """A model that likes to go on calling: true allows it, false and silence do not; streamed as it is whole."""
    add_chain(library, "calls", {"<": "t", "t": "o", "o": "ol", "l": "_l>", "_": "c", "c": "a", "a": "l", ">": "<"})
    body = {"model": "calls", "messages": ASK, "tools": TOOLS, "tool_choice": "required", "seed": 1, "n": 6}
    for silent in ({}, {"parallel_tool_calls": False}):
        choices = live.ok(PATH, **body, **silent, max_tokens=300)["choices"]
        assert {len(choice["message"]["tool_calls"]) for choice in choices} == {1}
    body |= {"parallel_tool_calls": True, "max_tokens": 300}
    choices = live.ok(PATH, **body)["choices"]
    assert max(len(choice["message"]["tool_calls"]) for choice in choices) > 1
    streamed = [one for chunk in chunks(live, **body) for one in chunk["choices"]]
    for choice in choices:
        whole = choice["message"]["tool_calls"]
        assert len({call["id"] for call in whole}) == len(whole)
        for call in whole[:-1]:  # the last one may be cut off
            assert json.loads(call["function"]["arguments"]) is not None
        joined: list[dict[str, Any]] = []
        for part in (one for one in streamed if one["index"] == choice["index"]):
            for delta in part["delta"].get("tool_calls", []):
                if "id" in delta:
                    assert delta["index"] == len(joined)
                    joined.append({"name": delta["function"]["name"], "arguments": ""})
                joined[delta["index"]]["arguments"] += delta["function"]["arguments"]
        assert joined == [call["function"] for call in whole]
