"""Answers as a stream and as a whole: the quotation, the model's own sentences before it, what no passage supports."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from answering import Recorder, chunks_of

from seedbed.chat.messages import Delta, Message, Reply
from seedbed.rag.answer import ask, stream_answer
from seedbed.rag.chains.cited import PASSAGE_TOKENS, own_sentences
from seedbed.rag.chains.stuff import STUFF
from seedbed.rag.passages import NOT_FOUND
from seedbed.rag.prompt_plan import fill
from seedbed.rag.record import DECLINED, DEMOTED, Answer, answer_lines, content
from seedbed.search.contracts import Hit

TEXTS = (
    "The bridge was opened in 1932 by the governor. Tolls ended in 1988.",
    "Ferries run twice an hour from the old harbour. The last one leaves at midnight.",
    "The museum holds a large collection of steam engines.",
)
ASKED = "When was the bridge opened?"
QUOTED = "The bridge was opened in 1932 by the governor."


def search(question: str, k: int) -> Sequence[Hit]:
    """All three passages, the ferries' first."""
    one, two, three = (Hit(chunk, 1.0) for chunk in chunks_of(*TEXTS))
    return [two, one, three][:k]


def answered(reply: str, question: str = ASKED) -> Answer:
    return ask(question, search, Recorder(lambda prompt: reply))


def test_the_models_sentence_stands_before_the_quotation_and_names_its_source() -> None:
    answer = answered("It was opened in 1932. The last one leaves at midnight.")
    assert list(answer_lines(answer)) == [
        "It was opened in 1932. [1] The last one leaves at midnight. [2]",
        "",
        f"[1] 1.txt: “{QUOTED}”",
        "[2] 2.txt: “The last one leaves at midnight.”",
    ]
    assert [(one.number, one.quoted) for one in answer.sources] == [(1, True), (2, False)]
    spans = [answer.text[one.start : one.end] for one in answer.citations]
    assert spans == ["It was opened in 1932.", "The last one leaves at midnight."]
    for text, one in zip(TEXTS, answer.citations, strict=False):
        assert text[one.source_start : one.source_end] == one.quote


@pytest.mark.parametrize(
    "unsupported",
    [
        "Elephants paid no toll whatsoever.",  # in other words than the passages'
        "When was the bridge opened?",  # a question
        "The bridge opened.",  # no more than the question
        "Yes.",  # no word of its own
        "Opened in 1932 by:",  # an announcement
    ],
)
def test_a_sentence_without_support_stands_below_the_quotation(unsupported: str) -> None:
    answer = answered(f"{unsupported}\n\nIt was opened in 1932.")
    assert answer.text == "It was opened in 1932."
    assert (answer.demoted, answer.unsupported) == ((unsupported,), ())
    assert list(answer_lines(answer))[-1] == f"\n{DEMOTED} {unsupported}"


def test_where_nothing_is_supported_the_quotation_is_the_answer() -> None:
    answer = answered("Elephants paid no toll whatsoever. Whales did.")
    assert (answer.found, answer.text) == (True, QUOTED)
    assert answer.demoted == ("Elephants paid no toll whatsoever.", "Whales did.")
    assert content(answer).startswith(f"{QUOTED} [1]\n\n[1] 1.txt: “{QUOTED}”")


def test_a_model_that_finds_nothing_does_not_hide_the_quotation() -> None:
    answer = answered(NOT_FOUND)
    assert (answer.found, answer.declined, answer.text) == (True, True, QUOTED)
    assert list(answer_lines(answer))[-1] == f"\n{DECLINED}"


def test_the_reply_ends_with_its_second_sentence_or_its_first_repetition() -> None:
    class Endless(Recorder):
        pieces = 0

        def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Delta]:
            for word in itertools.cycle(self.answer("").split(" ")):
                self.pieces += 1
                yield Delta(f"{word} ")

    for text, most in (("It was opened in 1932.", 7), ("It was opened in 1932. Tolls ended in 1988.", 12)):
        model = Endless(lambda prompt, text=text: text)  # type: ignore[misc]
        answer = ask(ASKED, search, model)
        assert model.pieces <= 2 * most
        assert answer.text == text
        assert answer.usage.completion_tokens == model.pieces
    assert own_sentences("Ann went. Ann went. Bob came. Cid slept.") == ["Ann went.", "Bob came."]


def test_a_sentence_that_the_limit_cut_is_not_shown() -> None:
    class Cut(Recorder):
        def reply(self, messages: Sequence[Message], **options: Any) -> Reply:
            return replace(super().reply(messages, **options), finish="length")

    for said, text in (
        ("It was opened in 1932. Tolls ended", "It was opened in 1932."),
        ("It was opened in 1932 by the", "It was opened in 1932 by the"),
    ):
        answer = ask(ASKED, search, Cut(lambda prompt, said=said: said))  # type: ignore[misc]
        assert (answer.text, answer.demoted, answer.finish) == (text, (), "length")
    assert answered("It was opened in 1932.").finish == "stop"


def test_parts_come_in_order_and_join_to_the_whole() -> None:
    model = Recorder(lambda prompt: "It was opened in 1932. Elephants paid no toll whatsoever.")
    parts = list(stream_answer(ASKED, search, model))
    first, *middle, last = parts
    assert first.found is not None
    assert last.answer is not None
    assert (first.found.text, first.found.found) == (QUOTED, True)  # as if the model wrote nothing
    assert "".join(part.draft for part in parts) == model.answer("")
    assert len(middle) == len(model.answer("").split())
    whole = content(last.answer)
    settled = "".join(part.settled for part in parts)
    assert settled == "It was opened in 1932. [1]"
    assert whole.startswith(settled + "\n")
    assert ask(ASKED, search, model) == last.answer


def test_closing_the_stream_closes_the_models() -> None:
    closed = []

    class Open(Recorder):
        def stream(self, messages: Sequence[Message], **options: Any) -> Iterator[Delta]:
            try:
                while True:
                    yield Delta("word ")
            finally:
                closed.append(True)

    parts = stream_answer(ASKED, search, Open(str))
    next(parts)
    next(parts)
    parts.close()
    assert closed == [True]


def test_the_meter_says_how_much_of_what_was_found_was_read() -> None:
    long = ["the bridge " * 300 + f"{place}." for place in range(4)]
    hits = [Hit(chunk, 1.0) for chunk in chunks_of(*long)]
    model = Recorder(lambda prompt: "The bridge 3.")
    answer = ask("the bridge?", lambda question, k: hits, model)
    assert model.count_prompt(model.prompts[0]) <= PASSAGE_TOKENS + model.count_prompt(
        fill(STUFF, question="the bridge?", context="")
    )
    assert answer.meter is not None
    assert (answer.meter.found, answer.meter.tokens_found) == (4, 4 * 601)
    shown = sum(model.prompts[0][0].text.count(word) for word in ("the bridge ",)) * 2
    assert 0 < answer.meter.read < 4
    assert answer.meter.tokens_read + sum(one.tokens for one in answer.cut) == answer.meter.tokens_found
    assert abs(answer.meter.tokens_read - shown) < 10
    assert str(answer.meter) == f"read {answer.meter.read} of 4 passages, {answer.meter.tokens_read:,} of 2,404 tokens"
    assert ask("the bridge?", lambda question, k: hits).meter is None  # no model read anything
