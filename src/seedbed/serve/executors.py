"""The threads of a server: look-ups never wait for work, and keys take turns at what is worked on.

A look-up (models, collections, stored responses) takes milliseconds and has threads of its own. Work on a request
(tokenizing, compiling a grammar) and whole chains over documents have others, of which one key has a share, however
much it asks for; what waits is cancelled with its request. Loading a model is nobody's turn: it has asyncio's threads.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

from seedbed.core.machine import cores
from seedbed.serve.errors import ApiError
from seedbed.serve.settings import ServeSettings

P = ParamSpec("P")
T = TypeVar("T")
_LOOK_UPS = 4


class FairThreads:
    """Threads that keys take turns at.

    Args:
        name: of the work, for errors.
        threads: functions that run at once; each: of one key; waiting: of one key, beyond which it is refused.
    """

    def __init__(self, name: str, threads: int, each: int, waiting: int) -> None:
        self._name, self._free, self._each, self._most = name, threads, each, waiting
        self._threads = ThreadPoolExecutor(threads, name)
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by key, the one whose turn is next first
        self._running = Counter[str]()

    async def run(self, owner: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function when it is its owner's turn. Raises ApiError (429) where too much of the owner's waits.

        Cancelled while it waits it never runs; cancelled later it keeps its thread until it ends.
        """
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        queue = self._waiting.setdefault(owner, deque())
        if len(queue) >= self._most:
            why = f"{len(queue)} of this key's wait for {self._name} already"
            raise ApiError(429, "too many requests at once", why=why, fix="wait for answers", code="queue_full")
        queue.append(turn)
        self._start()
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(owner, turn)
            raise
        work = self._threads.submit(function, *args, **kwargs)

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._end, owner)

        work.add_done_callback(ended)
        return await asyncio.wrap_future(work)

    def close(self) -> None:
        """Wait for what runs."""
        self._threads.shutdown(cancel_futures=True)

    def _start(self) -> None:
        """Give free threads to the owners with the fewest running, and of those to the one that waited longest."""
        while self._free and (ready := [one for one in self._waiting if self._running[one] < self._each]):
            owner = min(ready, key=self._running.__getitem__)
            queue = self._waiting.pop(owner)
            turn = queue.popleft()
            if queue:
                self._waiting[owner] = queue  # behind the others
            if turn.done():
                continue  # its request was cancelled, and has not been told yet
            self._free -= 1
            self._running[owner] += 1
            turn.set_result(None)

    def _end(self, owner: str) -> None:
        self._free += 1
        self._running[owner] -= 1
        if not self._running[owner]:
            del self._running[owner]
        self._start()

    def _give_up(self, owner: str, turn: asyncio.Future[None]) -> None:
        """Leave the queue; where the turn had come just before, pass it on."""
        if turn.done() and not turn.cancelled():
            self._end(owner)
            return
        queue = self._waiting.get(owner, deque())
        with suppress(ValueError):
            queue.remove(turn)
        if not queue:
            self._waiting.pop(owner, None)


class Executors:
    """All threads of a server but the engines' own."""

    def __init__(self, settings: ServeSettings) -> None:
        self._look_ups = ThreadPoolExecutor(_LOOK_UPS, "look-up")
        self.work = FairThreads("work", max(4, cores()), max(1, cores() // 4), settings.work_waiting)
        self.chains = FairThreads("documents", settings.chains, settings.key_chains, settings.chains_waiting)

    async def look_up(self, function: Callable[P, T], *args: P.args) -> T:  # type: ignore[valid-type]
        """Run a short function that reads."""
        return await asyncio.get_running_loop().run_in_executor(self._look_ups, function, *args)

    def close(self) -> None:
        """Wait for what runs."""
        for one in (self.work, self.chains):
            one.close()
        self._look_ups.shutdown()
