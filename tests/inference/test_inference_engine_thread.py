"""The owner thread: requests from many threads, cancels, failures and the end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from hash_runner import VOCABULARY, HashRunner, solo

from seedbed.core.errors import CapacityError, SeedbedError, UsageError
from seedbed.inference.engine import Engine, EngineLimits
from seedbed.inference.engine_client import EngineThread
from seedbed.inference.parameters import Sampling
from seedbed.inference.request import Event, QueueFull, Request, Token


def request(name: str, most: int = 30, seed: int = 1) -> Request:
    return Request(name, (seed % VOCABULARY, 2, 3), Sampling(max_tokens=most, seed=seed))


ENDLESS = 900


@contextmanager
def owner(runner: HashRunner, limits: EngineLimits | None = None) -> Iterator[EngineThread]:
    thread = EngineThread(Engine(runner, [], limits=limits or EngineLimits()))
    try:
        yield thread
    finally:
        thread.close()


class Reader:
    """Collects one request's events, and says when the last has come."""

    def __init__(self) -> None:
        self.events: queue.Queue[Event] = queue.Queue()

    def __call__(self, event: Event) -> None:
        self.events.put(event)

    def all(self) -> list[Event]:
        found = [self.events.get(timeout=60)]
        while not (found[-1].error or (found[-1].token and found[-1].token.finish)):
            found.append(self.events.get(timeout=60))
        return found

    def tokens(self) -> list[Token]:
        return [event.token for event in self.all() if event.token]


def test_many_threads_each_get_their_own_reply() -> None:
    runner = HashRunner(exact=True)
    got: dict[int, list[Token]] = {}

    def ask(number: int) -> None:
        for turn in range(5):
            reader = Reader()
            thread.submit(request(f"{number}.{turn}", seed=number * 5 + turn), reader)
            got[number * 5 + turn] = reader.tokens()

    with owner(runner, EngineLimits(max_running=4)) as thread:
        askers = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        assert thread.stats().free_blocks == runner.block_count
    assert got == {seed: solo(runner, request("", seed=seed)) for seed in range(40)}


def test_a_cancelled_request_frees_its_blocks_and_others_go_on() -> None:
    runner = HashRunner(exact=True)
    with owner(runner) as thread:
        reader, other = Reader(), Reader()
        thread.submit(request("a", ENDLESS), reader)
        reader.events.get(timeout=60)
        thread.cancel("a")
        thread.cancel("never seen")
        thread.submit(request("b", seed=4), other)
        assert other.tokens() == solo(runner, request("b", seed=4))
        thread.embed([1])  # comes after all that was asked before
        assert thread.stats().free_blocks == runner.block_count


def test_refusals_come_at_once_to_the_caller() -> None:
    with owner(HashRunner(exact=True, max_length=10), EngineLimits(max_waiting=0)) as thread:
        with pytest.raises(CapacityError):
            thread.submit(Request("a", (1,) * 11, Sampling(seed=0)), Reader())
        with pytest.raises(QueueFull):
            thread.submit(request("a"), Reader())


def test_an_id_in_use_is_refused() -> None:
    with owner(HashRunner(exact=True)) as thread:
        thread.submit(request("a", ENDLESS), Reader())
        with pytest.raises(UsageError, match="running"):
            thread.submit(request("a"), Reader())


def test_a_failing_step_ends_what_was_running_and_nothing_else() -> None:
    runner = HashRunner(exact=True)
    with owner(runner) as thread:
        readers = {name: Reader() for name in "ab"}
        for name, reader in readers.items():
            thread.submit(request(name, ENDLESS), reader)
        for reader in readers.values():
            reader.events.get(timeout=60)
        runner.broken = RuntimeError("no memory")
        for reader in readers.values():
            last = reader.all()[-1]
            assert last.error is not None
            assert "no memory" in last.error.why
        runner.broken = None
        after = Reader()
        thread.submit(request("a"), after)
        assert after.tokens() == solo(runner, request("a"))
        assert thread.stats().free_blocks == runner.block_count


def test_a_reader_that_fails_loses_its_own_reply_only() -> None:
    runner = HashRunner(exact=True)

    def broken(event: Event) -> None:
        raise ValueError("the reader has gone")

    with owner(runner) as thread:
        reader = Reader()
        thread.submit(request("broken", ENDLESS), broken)
        thread.submit(request("a"), reader)
        assert reader.tokens() == solo(runner, request("a"))
        thread.embed([1])
        assert thread.stats().running == 0


def test_the_end_of_the_thread_ends_what_runs_and_takes_no_more() -> None:
    with owner(HashRunner(exact=True)) as thread:
        reader = Reader()
        thread.submit(request("a", ENDLESS), reader)
        reader.events.get(timeout=60)
    assert reader.all()[-1].error is not None
    with pytest.raises(SeedbedError, match="shutting down"):
        thread.submit(request("b"), Reader())
    with pytest.raises(SeedbedError, match="shutting down"):
        thread.embed([1])


def test_an_embedding_is_the_mean_of_the_hidden_states() -> None:
    with owner(HashRunner(exact=True)) as thread:
        assert torch.equal(thread.embed([1, 2, 6]), torch.tensor([3.0, 1.0]))
        with pytest.raises(UsageError):
            thread.embed([VOCABULARY])
