"""Chat completions that answer from a collection: what they say is what the library's own `ask` says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event
from typing import Any

import httpx
import pytest
from serving import Live, add_model

from seedbed.chat.local import LocalModel
from seedbed.chat.messages import Message
from seedbed.core.artifacts import Library
from seedbed.inference.parameters import Sampling
from seedbed.models.store import LoadedModel
from seedbed.rag.answer import ask
from seedbed.rag.collection import Collection, remove
from seedbed.rag.passages import NOT_FOUND
from seedbed.serve.collection_cache import CollectionCache

CHAT = "/v1/chat/completions"
TEXTS = {
    "beans.md": "# Beans\n\nBeans are sown in May, when frost is over. They climb on poles of hazel.\n",
    "carrots.md": "# Carrots\n\nCarrots need loose, sandy soil. Sow carrots two centimetres deep.\n",
}
QUESTION = "How deep are carrots sown?"


@pytest.fixture(scope="module")
def garden(library: Library, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of documents of the collection "garden"."""
    folder = tmp_path_factory.mktemp("garden")
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    collection = Collection.create(library, "garden")
    collection.add([str(folder)])
    collection.close()
    yield folder
    remove(library, "garden")


def body(question: str = QUESTION, **documents: Any) -> dict[str, Any]:
    asked = {"collection": "garden", "chain": "extract", **documents}
    return {"messages": [{"role": "user", "content": question}], "documents": asked}


@pytest.mark.usefixtures("garden")
def test_a_collection_is_opened_once_whoever_asks(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every thread waits in the middle of its opening, so that without a lock all of them would open one."""
    cache, opening, ready = CollectionCache(library), Collection.open, Barrier(8)

    def slowly(*arguments: Any) -> Collection:
        Event().wait(0.05)
        return opening(*arguments)

    monkeypatch.setattr(Collection, "open", slowly)

    def ask_for(_: int) -> Collection:
        ready.wait()
        return cache.open("garden")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(map(id, pool.map(ask_for, range(8))))) == 1
    cache.close()


@pytest.mark.usefixtures("garden")
def test_an_answer_quotes_its_source(live: Live) -> None:
    found = live.ok(CHAT, **body())
    message, answer = found["choices"][0]["message"], found["documents"]
    assert message["content"] == "Sow carrots two centimetres deep."
    [citation] = answer["citations"]
    assert Path(citation["source"]).name == "carrots.md"
    assert citation["heading"] == "Carrots"
    text = Path(citation["source"]).read_text()
    assert text[citation["source_start"] : citation["source_end"]] == citation["quote"] == message["content"]
    [annotation] = message["annotations"]
    place = annotation["url_citation"]
    assert (place["url"], place["title"]) == (citation["source"], "Carrots")
    assert message["content"][place["start_index"] : place["end_index"]] == citation["quote"]


@pytest.mark.usefixtures("garden")
def test_a_stream_says_the_same(live: Live) -> None:
    whole = live.ok(CHAT, **body())
    options = {"stream": True, "stream_options": {"include_usage": True}}
    lines = live.post(CHAT, **body(), **options).text.split("\n\n")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == whole["choices"][0]["message"]["content"]
    assert chunks[-2]["documents"] == whole["documents"]
    assert chunks[-1]["usage"] == whole["usage"]
    assert lines[-2] == "data: [DONE]"


@pytest.mark.usefixtures("garden")
def test_what_the_documents_do_not_tell_is_said(live: Live) -> None:
    found = live.ok(CHAT, **body("Which enzyme splits lactose in milk?"))
    assert found["choices"][0]["message"]["content"] == NOT_FOUND
    assert found["documents"]["found"] is False
    assert found["documents"]["citations"] == []


@pytest.mark.usefixtures("garden")
@pytest.mark.parametrize("chain", ["stuff", "refine", "map-reduce", "map-rerank"])
def test_a_chain_writes_what_it_writes_alone(live: Live, library: Library, loaded: LoadedModel, chain: Any) -> None:
    """The same model in this process, without a server: equal to the bit, usage and all."""
    found = live.ok(CHAT, **body(chain=chain, evidence=True), max_tokens=12, temperature=0)
    model = LocalModel(loaded, name="tiny", sampling=Sampling(temperature=0, seed=1))
    collection = Collection.open(library, "garden")
    expected = ask(QUESTION, collection.search, model, chain=chain, evidence=True, max_tokens=12, temperature=0.0)
    collection.close()
    assert found["documents"] == json.loads(json.dumps(expected.to_json()))
    assert found["usage"]["completion_tokens"] > 0


@pytest.mark.usefixtures("garden")
@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_chain_is_told_the_conversations_instructions(
    live: Live, library: Library, loaded: LoadedModel, role: str
) -> None:
    """Equal to the bit to the library's own answer under a system message, which the prompt counts."""
    told = "Answer in one short sentence, in capitals."
    messages = [{"role": role, "content": told}, {"role": "user", "content": QUESTION}]
    asked = body(chain="stuff") | {"max_tokens": 12, "temperature": 0}
    found, plain = live.ok(CHAT, **{**asked, "messages": messages}), live.ok(CHAT, **asked)
    model = LocalModel(loaded, name="tiny", sampling=Sampling(temperature=0, seed=1))
    collection, history = Collection.open(library, "garden"), [Message("system", told)]
    expected = ask(QUESTION, collection.search, model, chain="stuff", history=history, max_tokens=12)
    collection.close()
    assert found["documents"] == json.loads(json.dumps(expected.to_json()))
    assert found["usage"]["prompt_tokens"] >= plain["usage"]["prompt_tokens"] + len(told)  # a token a byte
    response = live.ok(
        "/v1/responses",
        input=QUESTION,
        instructions=told,
        max_output_tokens=12,
        temperature=0,
        documents=asked["documents"],
    )
    assert response["documents"] == found["documents"]


@pytest.mark.usefixtures("garden")
@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"temperature": 0.7}, "temperature"),
        ({"temperature": 1}, "temperature"),
        ({"top_p": 0.5}, "top_p"),
        ({"stop": ["x"]}, "stop"),
        ({"logit_bias": {"8": 1}}, "logit_bias"),
        ({"repetition_penalty": 1.3}, "repetition_penalty"),
        ({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]}, "messages"),
    ],
)
def test_a_quotation_takes_nothing_that_shapes_a_models_words(live: Live, change: dict[str, Any], param: str) -> None:
    response = live.post(CHAT, **{**body(), **change})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text
    assert "extract" in response.json()["error"]["message"]
    neutral = {"temperature": 0, "top_p": 1, "max_tokens": 9, "seed": 1, "stop": []}
    assert live.ok(CHAT, **body(), **neutral)["choices"] == live.ok(CHAT, **body())["choices"]


@pytest.mark.usefixtures("garden")
def test_instructions_beside_a_quotation_are_refused(live: Live) -> None:
    response = live.post("/v1/responses", input=QUESTION, instructions="Be brief.", documents=body()["documents"])
    assert (response.status_code, response.json()["error"]["param"]) == (400, "instructions")


@pytest.mark.usefixtures("garden")
def test_metadata_comes_back_with_an_answer_from_documents(live: Live) -> None:
    assert live.ok(CHAT, **body(), metadata={"a": "b"})["metadata"] == {"a": "b"}


@pytest.mark.usefixtures("garden")
@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"documents": {"collection": "nothing"}}, 404, None),
        ({"chat_template_kwargs": {"enable_thinking": True}}, 400, "chat_template_kwargs"),
        ({"documents": {"collection": "../docs"}}, 400, None),
        ({"documents": {"collection": "garden", "chain": "guess"}}, 400, "documents.chain"),
        ({"documents": {"collection": "garden", "k": 0}}, 400, "documents.k"),
        ({"documents": {"collection": "garden", "where": {"year": {"like": 1}}}}, 400, None),
        ({"n": 2}, 400, "n"),
        ({"logprobs": True}, 400, "logprobs"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "tools"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, 400, "messages"),
    ],
)
def test_what_cannot_be_asked_is_refused(live: Live, change: dict[str, Any], status: int, param: str | None) -> None:
    response = live.post(CHAT, **{**body(), **change})
    assert (response.status_code, response.json()["error"]["param"]) == (status, param), response.text


def test_collections_are_listed_and_follow_the_library(live: Live, library: Library, garden: Path) -> None:
    def listed() -> dict[str, Any]:
        return {one["id"]: one for one in live.client.get("/v1/collections").json()["data"]}

    assert listed()["garden"]["documents"] == len(TEXTS)
    for answer in ("Peas are sown in March.", "Peas are sown in April."):
        (garden.parent / "peas.txt").write_text(answer)
        one = Collection.create(library, "peas")
        one.add([str(garden.parent / "peas.txt")])
        one.close()
        asked = body("When are peas sown?", collection="peas")
        assert live.ok(CHAT, **asked)["choices"][0]["message"]["content"] == answer
        remove(library, "peas")
    assert "peas" not in listed()
    assert live.post(CHAT, **body(collection="peas")).status_code == 404


@pytest.mark.usefixtures("garden")
def test_work_ends_with_its_client(live: Live) -> None:
    asked = {"model": "tiny", **body(chain="map-reduce"), "max_tokens": 200, "temperature": 0}
    with pytest.raises(httpx.ReadTimeout):
        live.client.post(CHAT, json=asked, timeout=httpx.Timeout(60, read=0.005))
    live.until(live.idle)


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    """The data of a stream's events."""
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]


@pytest.mark.usefixtures("garden")
def test_sources_come_first_then_the_draft_then_what_is_settled(live: Live) -> None:
    given = {**body(chain="cited"), "max_tokens": 12, "temperature": 0}
    whole = live.ok(CHAT, **given)
    chunks = chunks_of(live.post(CHAT, **given, stream=True))
    found = chunks[1]["documents"]
    assert (found["text"], found["sources"][0]["number"]) == ("Sow carrots two centimetres deep.", 1)
    drafts = [chunk["choices"][0]["delta"]["draft"] for chunk in chunks if "draft" in chunk["choices"][0]["delta"]]
    assert len(drafts) > 1
    assert "".join(drafts).split() == " ".join(whole["documents"]["demoted"]).split()
    content = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert content == whole["choices"][0]["message"]["content"]
    assert content.startswith("Sow carrots two centimetres deep. [1]\n\n[1] ")
    assert chunks[-1]["documents"] == whole["documents"]
    assert whole["documents"]["meter"]["read"] == whole["documents"]["meter"]["found"] == 2
    [annotation] = whole["choices"][0]["message"]["annotations"]
    place = annotation["url_citation"]
    assert content[place["start_index"] : place["end_index"]] == "Sow carrots two centimetres deep."


@pytest.mark.usefixtures("garden")
def test_the_draft_comes_while_the_model_writes(live: Live, library: Library) -> None:
    """The first piece is here while the engine still works; when the client leaves, the rest is not written."""
    add_model(library, "wide", 5, window=20_000)
    asked = {"model": "wide", **body(chain="stuff"), "max_tokens": 4000, "temperature": 0, "stream": True}
    asked["repetition_guard"] = False  # which would end it after some lines, before a slow reader has seen the first
    with live.client.stream("POST", CHAT, json=asked) as response:
        for line in response.iter_lines():
            if '"draft"' in line:
                assert not live.idle()
                break
    live.until(live.idle)
    assert live.state.pool.stats()["wide"].generated < 4000


@pytest.mark.usefixtures("garden")
def test_a_follow_up_is_asked_with_the_question_before(live: Live) -> None:
    before = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": "Two centimetres deep."}]
    asked = {**body(), "messages": [*before, {"role": "user", "content": "And beans in May?"}]}
    answer = live.ok(CHAT, **asked)["documents"]
    assert answer["question"] == "And beans in May?"
    assert answer["rewritten"] == f"{QUESTION} And beans in May?"  # the random model's letters are no question
    assert answer["usage"]["completion_tokens"] > 0


@pytest.mark.usefixtures("garden")
def test_a_response_says_what_a_chat_completion_says(live: Live) -> None:
    documents = {"collection": "garden"}
    given = {"documents": documents, "temperature": 0}
    chat = live.ok(CHAT, messages=[{"role": "user", "content": QUESTION}], max_tokens=12, **given)
    told = {"input": QUESTION, "max_output_tokens": 12, **given}
    response = live.ok("/v1/responses", **told)
    [part] = response["output"][0]["content"]
    assert part["text"] == chat["choices"][0]["message"]["content"]
    assert response["documents"] == chat["documents"]
    assert chat["choices"][0]["finish_reason"] == "length"  # the random model writes on; the quotation is whole
    assert (response["status"], response["usage"]["total_tokens"]) == ("incomplete", chat["usage"]["total_tokens"])
    places = [one["url_citation"] for one in chat["choices"][0]["message"]["annotations"]]
    assert part["annotations"] == [{"type": "url_citation", **place} for place in places]
    events = chunks_of(live.post("/v1/responses", **told, stream=True))
    kinds = list(dict.fromkeys(event["type"].removeprefix("response.") for event in events))
    assert kinds[2:5] == ["documents.found", "documents.draft", "output_item.added"]
    assert "".join(one["delta"] for one in events if one["type"] == "response.output_text.delta") == part["text"]
    assert events[-1]["response"]["documents"] == chat["documents"]
    more = live.ok("/v1/responses", previous_response_id=response["id"], input="And beans?", **given)
    assert more["documents"]["rewritten"] == f"{QUESTION} And beans?"
    refused = live.post("/v1/responses", **told, tools=[{"type": "function", "name": "f"}])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tools")


@pytest.mark.usefixtures("garden")
def test_a_cut_reply_is_not_told_as_whole(live: Live) -> None:
    asked = body(chain="stuff") | {"max_tokens": 3}
    assert live.ok(CHAT, **asked)["choices"][0]["finish_reason"] == "length"
    finishes = [one["choices"][0]["finish_reason"] for one in chunks_of(live.post(CHAT, **asked, stream=True))]
    assert [one for one in finishes if one] == ["length"]
    response = live.ok("/v1/responses", input=QUESTION, max_output_tokens=16, documents=asked["documents"])
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
