"""Guesses change how many forwards a reply takes, never the reply."""

from __future__ import annotations

import itertools
import random

import pytest
from hash_runner import VOCABULARY, HashRunner, run_all, solo, tokens_of
from hypothesis import given
from hypothesis import strategies as st

from seedbed.inference.engine import Engine
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Request
from seedbed.inference.speculation import look_up

PROMPT = tuple(random.Random(7).choices(range(VOCABULARY), k=100))
GREEDY = Sampling(temperature=0, max_tokens=200)


def test_a_text_that_repeats_itself_takes_fewer_forwards() -> None:
    """With a memory of two tokens greedy decoding runs into a cycle, which look-up finds."""
    forwards, replies = [], []
    for speculate in (False, True):
        runner = HashRunner(exact=True, memory=2)
        engine = Engine(runner, [], speculate=speculate)
        engine.add(Request("a", PROMPT, GREEDY))
        replies.append(tokens_of(run_all(engine)["a"]))
        forwards.append(runner.forwards)
    assert replies[0] == replies[1] == solo(runner, Request("a", PROMPT, GREEDY))
    assert forwards[0] == 200
    assert forwards[1] < 200 / 3
    assert engine.stats().accepted > 100


def test_guesses_that_never_hold_become_rare() -> None:
    """The prompt repeats a pair of tokens, so there is always a guess, and a hash goes on otherwise."""
    runner = HashRunner(exact=True)
    engine = Engine(runner, [])
    prompt = tuple(token for pair in itertools.product(range(VOCABULARY), repeat=2) for token in pair)[-700:]
    engine.add(Request("a", prompt, GREEDY))
    assert tokens_of(run_all(engine)["a"]) == solo(runner, Request("a", prompt, GREEDY))
    stats = engine.stats()
    assert 0 < stats.drafted < 40
    assert stats.accepted < 10


@pytest.mark.parametrize("memory", [2, 3, 10_000])
@pytest.mark.parametrize("blocks", [8, 60])
def test_replies_are_the_same_with_guesses_in_any_company(memory: int, blocks: int) -> None:
    """Later prompts go on from earlier replies: a cached block with a refused guess in it would show."""
    pick = random.Random(blocks)
    runner = HashRunner(exact=True, block_count=blocks, memory=memory)
    ends = [5] if blocks == 60 else []
    engine = Engine(runner, ends)
    replies: list[list[int]] = [[]]
    for turn in range(3):
        requests = []
        for name in range(5):
            start = (*PROMPT[: pick.choice([50, 70])], *pick.choice(replies))[:200]
            settings = Sampling(max_tokens=150, temperature=pick.choice([0, 0.4]), seed=pick.randrange(50))
            requests.append(Request(f"{turn}.{name}", start, settings))
            engine.add(requests[-1])
        events = run_all(engine)
        for request in requests:
            expected = solo(runner, request, ends)
            assert tokens_of(events[request.id]) == expected
            replies.append([token.id for token in expected])
    stats = engine.stats()
    assert 0 < stats.accepted < stats.drafted or memory == 10_000
    assert stats.drafted > 0
    assert stats.free_blocks == blocks
    assert stats.preemptions > 0 or blocks == 60
    assert stats.prefix_hits > 0


@given(st.lists(st.integers(0, 3) | st.sampled_from([256, 65536, 2**24]), max_size=60), st.integers(1, 8))
def test_look_up_finds_the_latest_longest_match(tokens: list[int], width: int) -> None:
    """Against trying every place; ids whose bytes overlap those of others are not confused."""
    expected: list[int] = []
    for size in (4, 3, 2):
        places = [p for p in range(len(tokens) - size) if tokens[p : p + size] == tokens[len(tokens) - size :]]
        if places:
            expected = tokens[places[-1] + size : places[-1] + size + width]
            break
    text = bytearray()
    look_up(tokens[: len(tokens) // 2], text, width)  # what was seen before is kept
    assert look_up(tokens, text, width) == expected
