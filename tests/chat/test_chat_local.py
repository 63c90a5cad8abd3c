"""The local model: its replies against a plain forward, its scores to the last digit, tools and grammars by mask."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema_rs
import numpy as np
import pytest
import torch
from chat_servers import ASK

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message, Tool, ToolCall
from seedbed.chat.model import scoring
from seedbed.chat.tracing import TraceEvent
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError, DataError, NotFoundError, SeedbedError, UsageError
from seedbed.inference.engine import Engine
from seedbed.inference.engine_client import EngineClient, EngineThread, end_ids
from seedbed.inference.grammar import GrammarCompiler
from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.runners.making import make_runner

PLAIN = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is a seed?"}]
WEATHER = {
    "type": "object",
    "properties": {"city": {"enum": ["Oslo", "Bonn"]}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
}
TOOLS = [Tool("weather", "The weather.", WEATHER), Tool("stop_it")]
Forward = Callable[[list[int]], torch.Tensor]


def prompt(local: LocalModel) -> list[int]:
    return local.tokenizer.encode_chat(PLAIN, add_generation_prompt=True)[0]


def test_a_greedy_reply_is_the_argmax_of_plain_forwards(local: LocalModel, logprobs: Forward) -> None:
    ids, best, scores = prompt(local), list[int](), list[float]()
    ends = end_ids(local.tokenizer)
    while len(best) < 12 and not (best and best[-1] in ends):
        row = logprobs([*ids, *best])[-1]
        best.append(int(row.argmax()))
        scores.append(float(row[best[-1]]))
    found = local.reply(ASK, max_tokens=12, temperature=0, logprobs=True)
    spoken = [token for token in best if token not in ends]
    assert found.text == local.tokenizer.decode(spoken)
    assert found.logprobs == pytest.approx(scores[: len(spoken)], abs=1e-4)
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (len(ids), len(best))
    assert found.model == "tiny"


@pytest.mark.parametrize("answer", ["A seed grows.", "日本語 🌱", "x", ""])
def test_a_score_is_that_of_a_plain_forward(local: LocalModel, logprobs: Forward, answer: str) -> None:
    ids, tail = prompt(local), local.tokenizer.encode(answer)
    table = logprobs([*ids, *tail, local.tokenizer.end_id])
    expected = [float(table[len(ids) - 1 + place, token]) for place, token in enumerate(tail)]
    assert local.score(ASK, answer) == pytest.approx(expected, abs=1e-4)
    end = float(table[len(ids) + len(tail) - 1, local.tokenizer.end_id])
    assert local.score(ASK, answer, end=True) == pytest.approx([*expected, end], abs=1e-4)


def test_a_reply_scores_as_it_was_written(local: LocalModel) -> None:
    """The echo is the engine's own sum: to the last digit, where rows do not depend on how they are batched."""
    exact = make_runner(local.loaded, cache_bytes=1 << 20).exact
    choice = Grammar("choice", json.dumps(["yes, it is", "no"]))
    for seed in range(4):
        reply = local.reply(ASK, temperature=1, seed=seed, grammar=choice, logprobs=True)
        assert local.score(ASK, reply.text) == (reply.logprobs if exact else pytest.approx(reply.logprobs, abs=1e-5))


def test_the_probabilities_of_all_next_bytes_add_up_to_one(local: LocalModel) -> None:
    """Every one-byte character and every other token: a closed form that a wrong offset by one would miss."""
    ascii_share = sum(math.exp(local.score(ASK, chr(code))[0]) for code in range(128))
    head = local.client.prompt_logprobs
    rest = (token for token in range(local.tokenizer.vocab_size) if local.tokenizer.decode([token]) not in _ASCII)
    assert ascii_share + sum(math.exp(head([*prompt(local), token])[-1]) for token in rest) == pytest.approx(
        1, abs=1e-4
    )


_ASCII = {chr(code) for code in range(128)}


def test_a_local_model_scores(local: LocalModel) -> None:
    assert scoring(local) is local
    assert scoring(object()) is None


@pytest.mark.parametrize("seed", range(4))
def test_streamed_is_whole(local: LocalModel, seed: int) -> None:
    """Random bytes: characters are cut between tokens all the time."""
    options: dict[str, Any] = {"seed": seed, "temperature": 1.5, "max_tokens": 60, "stop": "e", "logprobs": True}
    whole = local.reply(ASK, **options)
    *pieces, last = local.stream(ASK, **options)
    assert "".join(piece.text for piece in pieces) == whole.text
    assert all(piece.text and piece.reply is None for piece in pieces)
    assert last.reply == whole
    assert "e" not in whole.text


def test_streams_read_in_turns_and_a_score_in_between(local: LocalModel) -> None:
    options: dict[str, Any] = {"temperature": 1.5, "max_tokens": 30}
    alone = [local.reply(ASK, seed=seed, **options).text for seed in (1, 2)]
    score = local.score(ASK, "A seed.")
    streams = [local.stream(ASK, seed=seed, **options) for seed in (1, 2)]
    texts = ["", ""]
    for turn in itertools.zip_longest(*streams):
        texts = [text + (one.text if one else "") for text, one in zip(texts, turn, strict=True)]
        assert local.score(ASK, "A seed.") == score
    assert texts == alone


def test_why_a_reply_ends(local: LocalModel) -> None:
    grammar = Grammar("choice", '["abc"]')
    assert (local.reply(ASK, max_tokens=2, grammar=grammar).text, local.reply(ASK, grammar=grammar).text) == (
        "ab",
        "abc",
    )
    assert local.reply(ASK, max_tokens=2, grammar=grammar).finish == "length"
    assert local.reply(ASK, grammar=grammar).finish == "stop"
    text = local.reply(ASK, max_tokens=30, seed=3, temperature=1.5).text
    stopped = local.reply(ASK, max_tokens=30, seed=3, temperature=1.5, stop=[text[4]])
    assert (stopped.text, stopped.finish) == (text[: text.index(text[4])], "stop")


def test_the_model_s_own_options_hold_where_a_call_gives_none(local: LocalModel) -> None:
    mine = LocalModel(local.loaded, local.client, sampling=Sampling(max_tokens=5, temperature=2, seed=9))
    given: dict[str, Any] = {"max_tokens": 5, "temperature": 2, "seed": 9}
    assert mine.reply(ASK).text == local.reply(ASK, **given).text
    assert mine.reply(ASK, max_tokens=2).usage.completion_tokens == 2
    assert mine.name == local.loaded.artifact.id[:12]


@pytest.mark.parametrize("seed", range(3))
def test_a_required_call_follows_its_schema(local: LocalModel, seed: int) -> None:
    reply = local.reply(ASK, tools=TOOLS, tool_choice="required", seed=seed, max_tokens=300)
    [call] = reply.tool_calls
    jsonschema_rs.validate(
        {**WEATHER, "additionalProperties": False} if call.name == "weather" else {}, json.loads(call.arguments)
    )
    assert (reply.finish, reply.text, call.name in ("weather", "stop_it")) == ("tool_calls", "", True)
    named = local.reply(ASK, tools=TOOLS, tool_choice="stop_it", seed=seed)
    assert (named.tool_calls[0].name, named.tool_calls[0].arguments) == ("stop_it", "{}")
    result = [*ASK, reply.message, Message("tool", "rain", tool_call_id=call.id)]
    assert local.count_prompt(result) > local.count_prompt(ASK)


def test_tools_are_offered_described_or_left_out(local: LocalModel) -> None:
    offered = local.reply(ASK, tools=TOOLS, max_tokens=1)
    assert offered.usage.prompt_tokens > local.count_prompt(ASK)
    assert local.reply(ASK, tools=TOOLS, tool_choice="none", max_tokens=1).usage.prompt_tokens == local.count_prompt(
        ASK
    )
    either = Grammar("json_schema", '{"type": "integer", "maximum": 9, "minimum": 1}')
    reply = local.reply(ASK, tools=TOOLS, grammar=either, seed=1, max_tokens=300)
    assert reply.tool_calls or 1 <= json.loads(reply.text) <= 9


def test_counts_are_the_tokenizer_s(local: LocalModel) -> None:
    assert local.count_tokens("Größe") == 7  # bytes: two letters have two
    assert local.count_prompt(ASK) == len(prompt(local)) == local.reply(ASK, max_tokens=1).usage.prompt_tokens
    assert local.context_window == 1024


def test_an_embedding_is_the_mean_of_the_last_hidden_states(local: LocalModel) -> None:
    ids = [local.tokenizer.bos_id, *local.tokenizer.encode("A seed.")]
    with torch.inference_mode():
        mean = local.loaded.model.hidden(torch.tensor([ids]))[0][0].mean(0).numpy()
    found = local.embed("A seed.")
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)
    assert (found.dtype, found.shape) == (np.float32, (32,))


def test_what_does_not_fit_is_refused_at_once(local: LocalModel) -> None:
    long = [Message("user", "x" * 2000)]
    for ask in (local.reply, local.stream, local.embed):
        with pytest.raises(CapacityError, match="tokens, 1024 are allowed"):
            ask("x" * 2000 if ask == local.embed else long)  # type: ignore[operator]
    with pytest.raises(CapacityError):
        local.score(ASK, "x" * 2000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"temprature": 1}, "there is no option temprature"),
        ({"beams": 2, "top_n": 1}, "there is no option beams, top_n"),
        ({"temperature": "hot"}, "temperature is not a number"),
        ({"max_tokens": 1.5}, "max_tokens is not a whole number"),
        ({"max_tokens": True}, "max_tokens is not a whole number"),
        ({"top_p": 2}, "top_p = 2 is out of range"),
        ({"stop": 3}, "stop is not texts"),
        ({"stop": ["a", 3]}, "stop is not texts"),
        ({"stop": ""}, "stop cannot be an empty text"),
        ({"tool_choice": "weather"}, "chooses no tool"),
        ({"tool_choice": "required"}, "chooses no tool"),
        ({"tools": [Tool('x", "y')]}, "a tool cannot be called"),
        ({"tools": [Tool("x"), Tool("x")]}, "a tool cannot be called"),
        ({"tools": TOOLS, "grammar": Grammar("regex", "a")}, "a regex and tools at once"),
        ({"grammar": Grammar("regex", "(")}, "this regex cannot be used"),
        ({"grammar": Grammar("json_schema", "[]")}, "the json_schema is no object"),
        ({"grammar": Grammar("json_schema", "{")}, "the json_schema is no JSON"),
    ],
)
def test_options_that_cannot_be_honoured(local: LocalModel, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        local.stream(ASK, **options)
    assert said in raised.value.what


def test_a_slip_of_the_pen_is_recognized(local: LocalModel) -> None:
    with pytest.raises(UsageError) as raised:
        local.stream(ASK, temprature=1)  # type: ignore[call-arg]
    assert raised.value.fix == "did you mean temperature?"


CALL = ToolCall("1", "weather", "{}")


@pytest.mark.parametrize(
    ("messages", "kind", "said"),
    [
        ([], UsageError, "there are no messages"),
        ([Message("user", "a", (CALL,))], DataError, "message 1"),
        ([Message("user", "a"), Message("user", "a", (), "1")], DataError, "message 2"),
        ([Message("tool", "rain", (), "1")], DataError, "message 1"),
        ([Message("assistant", "", (ToolCall("1", "weather", "{"),))], DataError, "message 1"),
        ([Message("user", "\ud800")], DataError, "a text cannot be encoded"),
    ],
)
def test_messages_that_cannot_be_read(
    local: LocalModel, messages: list[Message], kind: type[SeedbedError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        local.count_prompt(messages)


def test_a_trace_is_told_of_start_tokens_and_end(local: LocalModel) -> None:
    events: list[TraceEvent] = []
    reply = local.reply(ASK, max_tokens=20, seed=1, grammar=Grammar("regex", "[a-z ]{9,30}"), trace=events.append)
    first, *tokens, last = events
    assert (first.kind, first.what, first.name, first.data["max_tokens"]) == ("start", "model", "tiny", 20)
    assert first.data["content"]["messages"] == PLAIN
    assert "".join(one.data["content"] for one in tokens) == reply.text
    assert {one.kind for one in tokens} == {"token"}
    counts = (last.kind, last.data["prompt_tokens"], last.data["completion_tokens"], last.data["finish"])
    assert counts == ("end", reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.finish)
    open_data = json.dumps([{key: one for key, one in event.data.items() if key != "content"} for event in events])
    assert "seed?" not in open_data


def test_a_model_is_opened_by_name(library: Library, local: LocalModel) -> None:
    assert LocalModel.open("tiny", library).loaded.artifact.id == local.loaded.artifact.id
    with pytest.raises(NotFoundError):
        LocalModel.open("nobody", library)


@pytest.fixture
def engine(local: LocalModel) -> Iterator[EngineThread]:
    runner = make_runner(local.loaded, cache_bytes=1 << 20)
    grammars = GrammarCompiler(local.tokenizer)
    thread = EngineThread(Engine(runner, end_ids(local.tokenizer), grammars=grammars))
    yield thread
    thread.close()


def test_many_threads_share_an_engine(local: LocalModel, engine: EngineThread) -> None:
    shared = LocalModel(local.loaded, EngineClient(engine), name="tiny")
    choice = Grammar("choice", json.dumps(["yes", "no"]))

    def work(seed: int) -> list[Any]:
        options: dict[str, Any] = {"seed": seed, "temperature": 1.5, "max_tokens": 30, "logprobs": True}
        return [
            shared.reply(ASK, **options),
            shared.reply(ASK, **options, grammar=choice),
            shared.score(ASK, "A seed."),
        ]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(8)))
    shared = local
    assert found == [work(seed) for seed in range(8)]
    np.testing.assert_array_equal(LocalModel(local.loaded, EngineClient(engine)).embed("x"), local.embed("x"))


def test_a_stream_that_nobody_reads_on_is_cancelled(local: LocalModel, engine: EngineThread) -> None:
    shared = LocalModel(local.loaded, EngineClient(engine))
    stream = shared.stream(ASK, grammar=Grammar("regex", "[a-c]{900}"), max_tokens=900)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    engine.embed([1])  # comes after the cancelling
    assert engine.stats().generated < 900
    assert engine.stats().running == 0
    engine.close()
    with pytest.raises(SeedbedError, match="shutting down"):
        shared.reply(ASK)


def test_a_reply_that_takes_too_long_ends(local: LocalModel, engine: EngineThread) -> None:
    late = LocalModel(local.loaded, EngineClient(engine, seconds=-1))
    with pytest.raises(SeedbedError, match="took too long"):
        late.reply(ASK)
    with pytest.raises(CapacityError):
        late.reply([Message("user", "x" * 2000)])
