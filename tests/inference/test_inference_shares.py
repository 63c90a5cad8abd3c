"""Shares of one engine: an owner that asks for much takes nothing from another that asks for little."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable

import pytest
from hash_runner import VOCABULARY, HashRunner, solo, tokens_of
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.inference.engine import Engine, EngineLimits
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Event, Request
from seedbed.inference.scheduler import BESIDE_OTHERS, FEW


def ask(name: str, owner: str, length: int, reply: int, salt: str = "") -> Request:
    prompt = tuple(random.Random(name).choices(range(VOCABULARY), k=length))
    return Request(name, prompt, Sampling(max_tokens=reply, seed=1, ignore_end=True), salt=salt, owner=owner)


def first_step(engine: Engine, name: str, most: int = 1000) -> int:
    """Steps until the first token of a request."""
    for step in range(most):
        if any(event.request_id == name for event in engine.step()):
            return step
    raise AssertionError(f"no token of {name} in {most} steps")


@pytest.mark.parametrize(
    ("kind", "length", "reply", "limits"),
    [
        ({"block_count": 200}, 5, 900, EngineLimits(max_running=8)),  # all slots are taken
        ({"block_count": 12}, 100, 300, EngineLimits(max_running=64)),  # all blocks are
        ({"block_count": 500}, 900, 2, EngineLimits(max_running=64, step_tokens=128)),  # prompts fill every step
        ({"block_count": 500, "exact": False}, 900, 2, EngineLimits(max_running=64, step_tokens=128)),
    ],
    ids=["slots", "blocks", "prompts", "prompts on a grid"],
)
def test_a_newcomer_waits_for_nobody_s_backlog(
    kind: dict[str, int], length: int, reply: int, limits: EngineLimits
) -> None:
    engine = Engine(HashRunner(**{"exact": True, **kind}), [], limits=limits)
    for number in range(100):
        engine.add(ask(f"many{number}", "hog", length, reply, salt=str(number)))
    for _ in range(20):
        engine.step()
    engine.add(ask("few", "guest", 5, 3))
    assert first_step(engine, "few") <= 2


def test_two_owners_that_want_all_run_equally_many() -> None:
    engine = Engine(HashRunner(exact=True, block_count=200), [], limits=EngineLimits(max_running=8))
    for number in range(20):
        engine.add(ask(f"a{number}", "a", 5, 900))
    engine.step()
    for number in range(20):
        engine.add(ask(f"b{number}", "b", 5, 900))
    for _ in range(5):
        engine.step()
    running = [one.request.owner for one in engine._scheduler.running]
    assert (running.count("a"), running.count("b")) == (4, 4)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_everything_ends_with_the_bytes_of_its_solo_run(seed: int, exact: bool) -> None:
    pick = random.Random(seed)
    runner = HashRunner(exact=exact, block_count=pick.choice([8, 12, 40]), max_length=500)
    limits = EngineLimits(max_running=pick.choice([1, 2, 5]), step_tokens=pick.choice([70, 200]))
    engine = Engine(runner, [], limits=limits)
    requests = [
        ask(str(n), pick.choice("aaaaabc"), pick.choice([1, 63, 64, 200, 400]), pick.randint(1, 90), pick.choice("xyz"))
        for n in range(15)
    ]
    coming, found = list(requests), {one.id: list[Event]() for one in requests}
    for step in range(20_000):
        if coming and step % 3 == 0:
            engine.add(coming.pop())
        _sort(engine.step(), found)
        if engine.idle and not coming:
            break
    for one in requests:
        assert tokens_of(found[one.id]) == solo(runner, one)
    assert engine.stats().free_blocks == runner.block_count


def _sort(events: Iterable[Event], found: dict[str, list[Event]]) -> None:
    for event in events:
        found[event.request_id].append(event)


def test_a_step_that_writes_for_a_guest_computes_few_rows_of_a_hog() -> None:
    """Readers wait for whole steps: a hog's replies take turns, and so do the parts of its prompts."""
    runner = HashRunner(exact=True, block_count=400)
    engine = Engine(runner, [])
    for number in range(50):
        engine.add(ask(f"many{number}", "hog", 5, 900))
    for _ in range(60):
        engine.step()
    for number in range(5):
        engine.add(ask(f"long{number}", "hog", 900, 5))
    engine.add(ask("few", "guest", 5, 30))
    first_step(engine, "few")
    written = Counter[str]()
    for _ in range(25):
        before = runner.rows
        written.update(event.request_id for event in engine.step())
        assert runner.rows - before <= 1 + FEW + BESIDE_OTHERS
    counts = [written[f"many{number}"] for number in range(50)]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) >= 24 * FEW
