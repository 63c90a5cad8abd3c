"""Over a real socket: replies of a model that says one thing for ever, and sampling as publishers state it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from serving import SMALL, Live, add_chain, add_model

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.chat.remote import RemoteModel
from seedbed.chat.repetition import Repetition
from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection

CHAT, RESPONSES, COMPLETIONS = "/v1/chat/completions", "/v1/responses", "/v1/completions"
SOWING = {"(": "1", "1": ")", ")": "S", "S": "o", "o": "w", "w": "!", "!": "S"}
ASKED = {"model": "looping", "messages": [{"role": "user", "content": "What shall I do?"}], "max_tokens": 203}
INPUT = {"model": "looping", "input": "What shall I do?", "max_output_tokens": 203}
LOOP = {"period": 4, "times": 16, "kept_characters": 7, "kept_tokens": 7}
SHOWN, WHOLE = "(1)" + "Sow!" * 16 + "S", "(1)" + "Sow!" * 50
STATED = {"temperature": 0.0, "top_k": 3, "do_sample": True}


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """A model that writes "(1)Sow!Sow!…", and two of the same weights, one of which states its sampling."""
    library = Library(tmp_path_factory.mktemp("loops"))
    add_chain(library, "looping", SOWING)
    add_model(library, "stated", 5, generation=STATED)
    add_model(library, "silent", 5)
    text = tmp_path_factory.mktemp("texts") / "sowing.txt"
    text.write_text("Carrots are sown in March.\n")
    collection = Collection.create(library, "garden")
    collection.add([str(text)])
    collection.close()
    return library


@pytest.fixture(scope="module")
def served(held: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    one = Live(held, tmp_path_factory.mktemp("home"), SMALL)
    yield one
    one.close()


def events(live: Live, path: str, **body: Any) -> list[dict[str, Any]]:
    lines = live.post(path, stream=True, **body).text.split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


def test_a_reply_is_trimmed_and_says_why(served: Live) -> None:
    found = served.ok(CHAT, **ASKED, n=2, logprobs=True)
    assert [one["repetition"] for one in found["choices"]] == [LOOP, LOOP]
    [choice, _] = found["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("(1)Sow!", "length")
    assert len(choice["logprobs"]["content"]) == 7
    assert found["usage"]["completion_tokens"] == 2 * 68  # what was computed
    served.until(served.idle)  # and no more is


def test_a_stream_stops_and_says_why(served: Live) -> None:
    choices = [one["choices"][0] for one in events(served, CHAT, **ASKED)]
    assert "".join(one["delta"].get("content", "") for one in choices) == SHOWN
    assert (choices[-1]["finish_reason"], choices[-1]["repetition"]) == ("length", LOOP)
    assert all("repetition" not in one for one in choices[:-1])
    served.until(served.idle)


def test_a_response_is_trimmed_and_says_why(served: Live) -> None:
    found = served.ok(RESPONSES, **INPUT, include=["message.output_text.logprobs"])
    [part] = found["output"][0]["content"]
    assert (part["text"], len(part["logprobs"]), found["repetition"]) == ("(1)Sow!", 7, LOOP)
    assert (found["status"], found["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert served.client.get(f"{RESPONSES}/{found['id']}").json() == found


def test_a_streamed_response_stops_and_says_why(served: Live) -> None:
    told = events(served, RESPONSES, **INPUT)
    assert "".join(one["delta"] for one in told if one["type"] == "response.output_text.delta") == SHOWN
    assert (told[-1]["type"], told[-1]["response"]["repetition"]) == ("response.incomplete", LOOP)
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == SHOWN


def test_it_can_be_switched_off(served: Live) -> None:
    [choice] = served.ok(CHAT, **ASKED, repetition_guard=False)["choices"]
    assert (choice["message"]["content"], "repetition" in choice) == (WHOLE, False)
    found = served.ok(RESPONSES, **INPUT, repetition_guard=False)
    assert (found["output"][0]["content"][0]["text"], "repetition" in found) == (WHOLE, False)


def test_completions_are_left_alone(served: Live) -> None:
    body = {"model": "looping", "prompt": "x", "max_tokens": 203}
    [choice] = served.ok(COMPLETIONS, **body)["choices"]
    assert (choice["text"], choice["finish_reason"], "repetition" in choice) == (WHOLE, "length", False)
    assert "".join(one["choices"][0]["text"] for one in events(served, COMPLETIONS, **body)) == WHOLE
    assert served.post(COMPLETIONS, **body, repetition_guard=True).status_code == 400  # it has no guard to switch


@pytest.mark.parametrize(
    "form",
    [
        {"structured_outputs": {"regex": r"\(1\)(Sow!)*"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "string", "minLength": 400}}}},
        {"tools": [{"type": "function", "function": {"name": "sow"}}]},
        {"ignore_eos": True},
    ],
)
def test_a_reply_with_a_form_or_a_length_is_left_alone(served: Live, form: dict[str, Any]) -> None:
    guarded, free = (served.ok(CHAT, **ASKED, **form, seed=1, repetition_guard=one) for one in (True, False))
    assert guarded["choices"] == free["choices"]
    assert guarded["usage"]["completion_tokens"] == 203


def test_an_answer_from_documents_is_ended_too(served: Live) -> None:
    body = {**ASKED, "messages": [{"role": "user", "content": "When are carrots sown?"}]}
    asked: dict[str, Any] = {**body, "documents": {"collection": "garden"}}
    assert served.ok(CHAT, **asked)["choices"][0]["repetition"] == LOOP
    assert events(served, CHAT, **asked)[-1]["choices"][0]["repetition"] == LOOP
    assert "repetition" not in served.ok(CHAT, **asked, repetition_guard=False)["choices"][0]


def test_a_client_of_ours_reads_it(served: Live) -> None:
    with RemoteModel(served.url, "looping", served.key) as model:
        ask = [Message("user", "What shall I do?")]
        whole = model.reply(ask, max_tokens=203)
        *_, last = model.stream(ask, max_tokens=203)
        assert last.reply is not None
        assert whole.repetition == last.reply.repetition == Repetition(**LOOP)
        assert whole.text == last.reply.trimmed().text == "(1)Sow!"
        assert model.reply(ask, max_tokens=203, repetition_guard=False).text == WHOLE


def text(live: Live, model: str, **options: Any) -> str:
    asked = {**ASKED, "model": model, "max_tokens": 20, "repetition_guard": False, **options}
    return str(live.ok(CHAT, **asked)["choices"][0]["message"]["content"])


def test_chats_are_sampled_as_the_publishers_state(served: Live) -> None:
    """Two models with the same weights: only what one's publishers state tells them apart."""
    best = text(served, "silent", temperature=0, seed=3)
    assert text(served, "stated", seed=3) == text(served, "stated", seed=4) == best
    assert text(served, "silent", seed=3) != best
    drawn = text(served, "silent", temperature=1.0, top_k=3, seed=3)
    assert text(served, "stated", temperature=1.0, seed=3) == drawn  # what is asked for wins, the rest is stated
    assert text(served, "stated", temperature=None, seed=3) == best  # null says nothing
    found = served.ok(RESPONSES, model="stated", input="What?", max_output_tokens=5)
    assert (found["temperature"], found["top_p"]) == (0.0, 1.0)


def test_completions_are_sampled_as_they_are_asked_for(served: Live) -> None:
    asked: dict[str, Any] = {"prompt": "x", "max_tokens": 20, "seed": 3}
    one, other = (served.ok(COMPLETIONS, model=name, **asked)["choices"] for name in ("stated", "silent"))
    assert one == other


def test_a_model_of_this_process_is_sampled_so_too(held: Library) -> None:
    stated, silent = (LocalModel.open(name, held) for name in ("stated", "silent"))
    ask = [Message("user", "What shall I do?")]
    best = silent.reply(ask, temperature=0, max_tokens=20).text
    assert stated.reply(ask, seed=3, max_tokens=20).text == best
    assert stated.reply(ask, seed=3, temperature=2.0, max_tokens=20).text != best
