"""Asking documents as a whole: found with sources, or not in the documents."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from answering import Recorder, Scorer, chunks_of, said

from seedbed.chat.messages import Message, Usage
from seedbed.chat.tracing import TraceEvent
from seedbed.core.errors import UsageError
from seedbed.documents.document import Chunk
from seedbed.rag.answer import ask
from seedbed.rag.chains import CHAINS, Chain
from seedbed.rag.passages import NOT_FOUND
from seedbed.rag.sentence_choice import FOUND_BY_WORDS
from seedbed.search.contracts import Hit

TEXTS = (
    "The bridge was opened in 1932 by the governor. Tolls ended in 1988.",
    "Ferries run twice an hour from the old harbour. The last one leaves at midnight.",
    "The museum holds a large collection of steam engines.",
)


def search(question: str, k: int) -> Sequence[Hit]:
    """All three passages, the ferries' first."""
    one, two, three = (Hit(chunk, 1.0) for chunk in chunks_of(*TEXTS))
    return [two, one, three][:k]


@pytest.mark.parametrize("chain", CHAINS)
def test_every_chain_answers_with_a_cited_source(chain: Chain) -> None:
    model = None if chain == "extract" else Scorer(lambda prompt: "The bridge was opened in 1932 by the governor.")
    answer = ask("When was the bridge opened?", search, model, chain=chain)
    assert answer.found
    assert answer.text == "The bridge was opened in 1932 by the governor."
    assert answer.unsupported == ()
    if chain != "map-rerank":  # which answers from the first of three passages that it was told are alike
        (citation,) = answer.citations
        assert (citation.source, citation.passage, citation.support) == ("1.txt", 2, 1.0)
        assert TEXTS[0][citation.source_start : citation.source_end] == answer.text
    assert [hit.chunk.source for hit in answer.hits] == ["2.txt", "1.txt", "3.txt"]
    assert answer.model == ("" if chain == "extract" else "recorder")
    told = json.loads(json.dumps(answer.to_json()))
    assert told["hits"][0]["chunk"]["text"] == TEXTS[1]
    assert told["usage"]["total_tokens"] == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("chain", [one for one in CHAINS if one not in ("extract", "map-rerank")])
def test_every_prompt_begins_with_the_conversations_instructions(chain: Chain) -> None:
    """Counted with the prompt, so that the window holds both: the recorder refuses a prompt that is too long."""
    told = [Message("system", "Answer in {one} sentence. " * 8), Message("user", "Hi"), Message("system", "In French.")]
    model = Scorer(lambda prompt: "The bridge was opened in 1932 by the governor.", window=120)
    answer = ask("When was the bridge opened?", search, model, chain=chain, history=told, max_tokens=20, evidence=True)
    assert answer.found
    of_chain = [prompt for prompt in model.prompts if "Rewritten" not in said(prompt)]
    assert of_chain
    assert {prompt[0] for prompt in of_chain} == {
        Message("system", "Answer in {one} sentence. " * 8 + "\n\nIn French.")
    }
    assert all(prompt[1].role == "user" for prompt in of_chain)


@pytest.mark.parametrize("model", [None, Scorer(lambda prompt: "x")])
def test_evidence_of_a_quotation_is_refused_with_the_way_out(model: Scorer | None) -> None:
    with pytest.raises(UsageError) as caught:
        ask("When was the bridge opened?", search, model, chain="extract", evidence=True)
    assert "extract quotes" in caught.value.why
    assert "cited" in caught.value.fix


def test_instructions_need_a_model_that_scores_for_evidence() -> None:
    model = Recorder(lambda prompt: "In 1932.")
    with pytest.raises(UsageError, match="cannot tell how probable"):
        ask("When was the bridge opened?", search, model, history=[Message("system", "Be brief.")], evidence=True)


def test_what_the_documents_do_not_tell_is_said_without_asking_a_model() -> None:
    model = Recorder(lambda prompt: "Gluons.")
    answer = ask("Which particles carry the strong interaction?", search, model)
    assert (answer.found, answer.text, answer.citations, model.prompts) == (False, NOT_FOUND, (), [])
    assert answer.evidence < FOUND_BY_WORDS
    assert len(answer.hits) == 3
    assert (
        ask("Which particles carry the strong interaction?", search, model, chain="stuff", threshold=0).text
        == "Gluons."
    )


def test_a_model_may_say_that_the_passages_do_not_tell() -> None:
    model = Recorder(lambda prompt: "I am afraid that is not in the documents.")
    answer = ask("Who opened the bridge?", search, model, chain="stuff")
    assert (answer.found, answer.text, answer.citations) == (False, NOT_FOUND, ())
    assert answer.usage.completion_tokens == 9


def test_a_search_that_finds_nothing_is_an_answer_too() -> None:
    answer = ask("Who opened the bridge?", lambda question, k: [], Recorder(str))
    assert (answer.found, answer.hits, answer.evidence, answer.usage) == (False, (), 0.0, Usage())


def test_sentences_without_support_are_marked() -> None:
    text = "The bridge was opened in 1932. Elephants paid no toll whatsoever."
    answer = ask("When was the bridge opened?", search, Recorder(lambda prompt: f" {text}\n"), chain="stuff")
    assert answer.text == text
    assert [answer.text[start:end] for start, end in answer.unsupported] == ["Elephants paid no toll whatsoever."]
    assert [one.source for one in answer.citations] == ["1.txt"]


def test_what_no_prompt_had_room_for_is_told() -> None:
    model = Recorder(lambda prompt: "Ferries run twice an hour.", window=75)
    answer = ask("How often do ferries run?", search, model, max_tokens=10)
    assert answer.cut
    for cut in answer.cut:
        text = TEXTS[int(cut.source[0]) - 1]
        assert cut.tokens == len(text[cut.start : cut.end].split())
        assert text[cut.start : cut.end] not in said(model.prompts[0])


def test_evidence_is_asked_of_the_model_that_answers() -> None:
    def logprob(prompt: str, word: str) -> float:
        return -1.0 if "1932" in prompt else -4.0

    model = Scorer(lambda prompt: "The bridge opened in 1932.", logprob=logprob)
    answer = ask("When was the bridge opened?", search, model, evidence=True)
    assert answer.citations[0].evidence == 5 * 3.0
    with pytest.raises(UsageError, match="how probable"):
        ask("When was the bridge opened?", search, Recorder(str), evidence=True)
    with pytest.raises(UsageError, match="how probable"):
        ask("When was the bridge opened?", search, model, chain="extract", evidence=True)


def test_as_many_passages_are_looked_for_as_asked() -> None:
    assert len(ask("Ferries?", search, chain="extract", k=1).hits) == 1


@pytest.mark.parametrize(
    ("question", "chain", "why"),
    [(" ", "extract", "empty"), ("why", "stuff", "no model"), ("why", "guess", "no chain 'guess'")],
)
def test_what_cannot_be_asked_is_refused(question: str, chain: Chain, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        ask(question, search, chain=chain)


def test_a_trace_is_told_of_the_search_and_the_chain_inside_the_question() -> None:
    told: list[TraceEvent] = []
    ask("When was the bridge opened?", search, Recorder(lambda prompt: "In 1932."), chain="stuff", trace=told.append)
    names = [(one.kind, one.name) for one in told]
    assert names == [
        ("start", "ask"),
        ("start", "search"),
        ("end", "search"),
        ("start", "stuff"),
        ("end", "stuff"),
        ("end", "ask"),
    ]
    assert {one.parent for one in told[1:5]} == {told[0].span}
    assert told[-1].data["found"] is True
    assert all("bridge" not in str({**one.data, "content": ""}) for one in told)


def test_a_heading_counts_as_part_of_its_passage() -> None:
    """The same words: only the second passage stands under what was asked."""
    bare, headed = (
        Chunk("a", 0, 18, "It needs a spade."),
        Chunk("b", 0, 18, "It needs a spade.", heading="Planting trees"),
    )
    hits = [Hit(bare, 1.0), Hit(headed, 1.0)]
    answer = ask("What does planting of trees need?", lambda question, k: hits, chain="extract")
    assert answer.found
    assert answer.citations[0].source == "b"
    assert not ask("What does planting of trees need?", lambda question, k: hits[:1], chain="extract").found
