"""Threads of a server: keys take turns, nobody waits behind another's backlog, and look-ups behind nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from serving import Live

from seedbed.core.artifacts import Library
from seedbed.rag.collection import Collection
from seedbed.serve.errors import ApiError
from seedbed.serve.executors import FairThreads


def finish(main: Coroutine[Any, Any, None]) -> None:
    """Run it in a thread: a browser's test may have left an event loop running in this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, main).result()


def run(turns: FairThreads, asked: list[tuple[str, str]], first: int) -> list[str]:
    """Ask in this order, and let ``first`` functions go on at a time; returns the order in which they began."""
    began: list[str] = []
    gate = threading.Semaphore(0)

    def work(name: str) -> None:
        began.append(name)
        gate.acquire()

    async def main() -> None:
        tasks = [asyncio.create_task(turns.run(owner, work, name)) for owner, name in asked]
        for count in range(len(asked)):
            while len(began) < min(len(asked), count + first):
                await asyncio.sleep(0.001)
            gate.release()
        await asyncio.gather(*tasks)

    finish(main())
    turns.close()
    return began


def test_keys_take_turns() -> None:
    asked = [("hog", f"h{n}") for n in range(6)] + [("a", "a0"), ("a", "a1"), ("b", "b0")]
    assert run(FairThreads("work", 1, 1, 10), asked, 1) == ["h0", "h1", "a0", "b0", "h2", "a1", "h3", "h4", "h5"]


def test_a_key_has_its_share_of_the_threads_and_no_more() -> None:
    turns, running, most = FairThreads("work", 4, 2, 100), 0, []
    lock = threading.Lock()

    def work() -> None:
        nonlocal running
        with lock:
            running += 1
            most.append(running)
        threading.Event().wait(0.002)
        with lock:
            running -= 1

    async def main() -> None:
        await asyncio.gather(*(turns.run("one", work) for _ in range(50)))

    finish(main())
    turns.close()
    assert max(most) == 2


def test_too_much_of_one_key_is_refused_and_a_cancelled_one_never_runs() -> None:
    turns, gate, ran = FairThreads("work", 1, 1, 2), threading.Event(), []

    async def main() -> None:
        running = asyncio.create_task(turns.run("a", gate.wait))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(turns.run("a", ran.append, n)) for n in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="too many"):
            await turns.run("a", ran.append, 9)
        other = asyncio.create_task(turns.run("b", ran.append, "b"))
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(running, waiting[1], other)

    finish(main())
    turns.close()
    assert sorted(map(str, ran)) == ["1", "b"]


def test_a_turn_cancelled_just_before_it_comes_takes_no_thread() -> None:
    """Its request has been told, but not yet run, when the thread before it ends."""
    turns, gate, ran = FairThreads("work", 1, 1, 9), threading.Event(), []

    async def main() -> None:
        running = asyncio.create_task(turns.run("a", gate.wait))
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(turns.run(owner, ran.append, owner)) for owner in "ab"]
        await asyncio.sleep(0)
        waiting[0].cancel()
        turns._end("a")  # as from the loop's own queue, before the cancelled task is run
        await asyncio.wait_for(waiting[1], 5)
        gate.set()
        turns._free -= 1  # ended twice
        await running

    turns._threads._max_workers = 2  # for the one that is told to have ended
    finish(main())
    turns.close()
    assert ran == ["b"]


def test_look_ups_of_another_key_do_not_wait_for_chains(
    start: Callable[..., Live], library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many questions of one key hang in their search, for as long as the test wants."""
    (tmp_path / "a.txt").write_text("A file is opened by open. " * 3)
    collection = Collection.create(library, "notes", {"embedder": "none"})
    collection.add([str(tmp_path / "a.txt")])
    collection.close()
    live, gate = start(), threading.Event()
    live.ok("/v1/completions", prompt="x", max_tokens=1)
    other = live.connect(live.keys.create("other"))
    monkeypatch.setattr(Collection, "search", lambda *_, **__: gate.wait(50) and [])
    documents = {"collection": "notes", "chain": "extract"}
    body = {"messages": [{"role": "user", "content": "How is a file opened?"}], "documents": documents}
    with ThreadPoolExecutor(24) as threads:
        asked = [threads.submit(live.post, "/v1/chat/completions", **body) for _ in range(24)]
        while live.state.executors.chains._running.total() < live.state.settings.key_chains:
            live.client.get("/health")
        for path in ("/v1/models", "/v1/models/tiny", "/v1/collections", "/v1/responses/none", "/health"):
            assert other.get(path, timeout=10).status_code in (200, 404)
        answer = other.post("/v1/completions", json={"model": "tiny", "prompt": "x", "max_tokens": 1}, timeout=10)
        assert answer.status_code == 200
        assert live.state.executors.chains._running.total() == live.state.settings.key_chains
        gate.set()
        assert {one.result().status_code for one in asked} == {200}
