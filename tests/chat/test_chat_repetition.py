"""Loops against the rule itself, looked at the slow way; and replies of a model that says one thing for ever."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import add_chain

from seedbed.chat.local import LocalModel, continue_text
from seedbed.chat.messages import Message, Reply, Tool
from seedbed.chat.model import ReplyOptions
from seedbed.chat.repetition import COPIES, TOKENS, LoopDetector, Repetition
from seedbed.chat.reply_builder import ReplyBuilder
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.inference.parameters import Grammar, Sampling
from seedbed.inference.request import Token
from seedbed.tokenizers.tokenizer import Tokenizer

ASK = [Message("user", "What shall I do?")]
SOWING = {"(": "1", "1": ")", ")": "S", "S": "o", "o": "w", "w": "!", "!": "S"}
WORDS = st.lists(st.integers(0, 2), min_size=1, max_size=9)


@pytest.fixture(scope="module")
def looping(library: Library) -> LocalModel:
    """A model that writes "(1)Sow!Sow!Sow!…"."""
    add_chain(library, "looping", SOWING)
    return LocalModel.open("looping", library)


def has_period(ids: Sequence[int], period: int) -> bool:
    return all(one == other for one, other in zip(ids[period:], ids, strict=False))


def seen(ids: Sequence[int], copies: int, least: int) -> tuple[int, int] | None:
    """The rule as it is written: the first length that a period divides which is a loop there, and the period."""
    for length in range(1, len(ids) + 1):
        for period in range(1, length + 1):
            tail = max(copies * period, least)
            if length % period == 0 and tail <= length and has_period(ids[length - tail : length], period):
                return length, period
    return None


def found(ids: Sequence[int], copies: int = COPIES, least: int = TOKENS) -> tuple[int, int] | None:
    detector = LoopDetector(copies, least)
    return next(((place, loop) for place, token in enumerate(ids, 1) if (loop := detector.add(token))), None)


@given(st.lists(WORDS, max_size=4), WORDS, st.integers(0, 9), WORDS, st.integers(2, 4), st.integers(1, 30))
def test_loops_are_seen_where_the_slow_way_sees_them(
    before: list[list[int]], word: list[int], times: int, after: list[int], copies: int, least: int
) -> None:
    ids = [*itertools.chain(*before), *word * times, *after]
    assert found(ids, copies, least) == seen(ids, copies, least)


@given(st.lists(st.integers(0, 9), max_size=40), st.lists(st.integers(0, 9), min_size=1, max_size=90))
def test_a_loop_of_any_length_is_seen_within_one_more_copy(before: list[int], word: list[int]) -> None:
    enough = max(COPIES * len(word), TOKENS)
    place, period = found([*before, *word * (enough // len(word) + 2)]) or (0, 0)
    assert 0 < place < len(before) + enough + len(word)
    assert len(word) % period == 0 or place <= len(before) + enough  # or the text before was a loop, or part of one


@given(st.lists(st.integers(0, 2), max_size=20), WORDS)
def test_the_start_of_a_loop_is_the_first_token_that_has_its_period(before: list[int], word: list[int]) -> None:
    detector, ids = LoopDetector(2, 1), [*before, *word * 3]
    for token in ids:
        detector.add(token)
    start = detector.start(len(word))
    assert has_period(ids[start:], len(word))
    assert start == 0 or not has_period(ids[start - 1 :], len(word))


class Counting(LoopDetector):
    """Counts the comparisons, and the hashes that these are made of."""

    looks = hashes = 0

    def _repeats(self, period: int) -> bool:
        self.looks += 1
        return super()._repeats(period)

    def _hash(self, start: int, end: int) -> int:
        self.hashes += 1
        return super()._hash(start, end)


def thue_morse() -> Iterator[int]:
    """A sequence that holds every word twice in a row somewhere, and none three times (Thue 1912)."""
    return (place.bit_count() % 2 for place in itertools.count())


def test_a_long_reply_costs_n_log_n_comparisons() -> None:
    """The closed form: period p is looked at once for each of its multiples, from its fourth on."""
    length, detector = 100_000, Counting()
    assert not any(detector.add(token) for token in itertools.islice(thue_morse(), length))
    assert detector.looks == sum(length // period - COPIES + 1 for period in range(1, length // COPIES + 1))
    assert detector.hashes <= 2 * detector.looks < 2 * length * math.log(length)


POEM = """The rose is red, the grass is green, {}
and so the days go by, my dear, and so the days go by.
"""
LEGITIMATE = {
    "a table": "".join(f"| row {one} | {one * one} | yes | no | yes | no |\n" for one in range(40)),
    "the head of one": "|" + " --- |" * 12,
    "a list": "".join(f"{one}. Water the bed, and weed it.\n" for one in range(1, 40)),
    "code": "".join(f"    total += values [ {one} ] * weights [ {one} ]\n" for one in range(30)),
    "a poem": "".join(POEM.format(line) for line in ("in spring", "in June", "in autumn", "in the snow", "at last")),
    "some of one word": "a " * 40,
    "a sentence three times": "I shall water the seeds every morning before I go to school, and never forget it. " * 3,
}


@pytest.mark.parametrize("name", LEGITIMATE)
def test_what_people_write_survives(name: str) -> None:
    numbers: dict[str, int] = {}
    ids = [numbers.setdefault(word, len(numbers)) for word in LEGITIMATE[name].replace("\n", " \n ").split(" ")]
    assert found(ids) is None


def test_a_reply_is_ended_and_trimmed_to_the_first_copy(looping: LocalModel) -> None:
    reply = looping.reply(ASK, max_tokens=500, logprobs=True)
    assert (reply.text, reply.finish, len(reply.logprobs or ())) == ("(1)Sow!", "length", 7)
    assert reply.repetition == Repetition(4, 16, kept_characters=7, kept_tokens=7)
    assert reply.usage.completion_tokens == 68  # the first multiple of 4 at which 64 tokens repeat


def test_a_stream_stops_and_takes_nothing_back(looping: LocalModel) -> None:
    *pieces, last = looping.stream(ASK, max_tokens=500)
    assert last.reply is not None
    assert "".join(piece.text for piece in pieces) == last.reply.text == "(1)" + "Sow!" * 16 + "S"
    assert last.reply.trimmed() == looping.reply(ASK, max_tokens=500)


def test_it_can_be_switched_off(looping: LocalModel) -> None:
    reply = looping.reply(ASK, max_tokens=203, repetition_guard=False)
    assert (reply.text, reply.finish, reply.repetition) == ("(1)" + "Sow!" * 50, "length", None)
    wrong: Any = {"repetition_guard": "no"}
    with pytest.raises(UsageError, match="repetition_guard is not True or False"):
        looping.reply(ASK, **wrong)


FORMS: dict[str, ReplyOptions] = {
    "a regex": {"grammar": Grammar("regex", r"\(1\)(Sow!)*")},
    "a schema": {"grammar": Grammar("json_schema", json.dumps({"type": "string", "minLength": 200}))},
    "tools": {"tools": [Tool("sow")], "tool_choice": "auto"},
}


@pytest.mark.parametrize("name", FORMS)
def test_a_reply_with_a_form_is_left_alone(looping: LocalModel, name: str) -> None:
    options: ReplyOptions = {"max_tokens": 150, "seed": 1, "logprobs": True, **FORMS[name]}
    guarded, free = looping.reply(ASK, **options), looping.reply(ASK, repetition_guard=False, **options)
    assert guarded == free
    assert (free.usage.completion_tokens, free.repetition) == (150, None)


def test_a_continued_text_is_left_alone(looping: LocalModel) -> None:
    pieces = list(continue_text(looping.loaded, "x", Sampling(max_tokens=203), looping.client))
    assert "".join(piece.text for piece in pieces) == "(1)" + "Sow!" * 50


def build(tokenizer: Tokenizer, text: str, stop: Sequence[str] = ()) -> Reply:
    builder = ReplyBuilder(tokenizer, stop, guarded=True)
    for token in tokenizer.encode(text):
        builder.add(Token(token, 0.0))
        if builder.finish:
            break
    return builder.reply()


def test_a_loop_that_chance_began_in_the_middle_of_a_sentence_ends_with_one(local: LocalModel) -> None:
    """The mark before the first copy is that of each copy too, so the period begins one token early."""
    reply = build(local.tokenizer, "Well!" + " So sow!" * 30)
    assert reply.repetition is not None
    assert (reply.text[: reply.repetition.kept_characters], reply.repetition.period) == ("Well! So sow!", 8)


def test_text_that_waits_for_a_stop_string_is_not_lost(local: LocalModel) -> None:
    reply = build(local.tokenizer, "ab" * 100, stop=("ab" * 200,))
    assert (reply.text, reply.finish) == ("ab" * 32, "length")
    assert reply.trimmed().text == "ab"


def test_a_stop_string_comes_before_a_loop(local: LocalModel) -> None:
    reply = build(local.tokenizer, "ab" * 100, stop=("ab" * 32,))
    assert (reply.text, reply.finish, reply.repetition) == ("", "stop", None)


def test_characters_that_are_cut_between_tokens(local: LocalModel) -> None:
    """Four bytes each: the kept text holds whole ones."""
    reply = build(local.tokenizer, "x" + "🌱" * 100)
    assert reply.trimmed().text == "x🌱"


def test_a_repetition_goes_through_the_wire() -> None:
    one = Repetition(3, 25, 10, 4)
    assert Repetition.from_wire(json.loads(json.dumps(one.to_wire()))) == one
    assert [Repetition.from_wire(wrong) for wrong in (None, {}, {"period": 3}, [])] == [None] * 4  # type: ignore[arg-type]
