"""An order-preserving map over processes that holds only a few items at a time.

``Executor.map`` submits everything at once; here at most two items a worker are under way, so that memory does not
grow with the input. Processes are spawned, not forked: a parent that has threads (PyTorch's, the tokenizer's) stays
safe. Small input is worked on in this process, where starting workers would cost more than they save.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from seedbed.core.errors import CapacityError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers:
    """A pool of ``count`` processes; with 1 everything runs here."""

    def __init__(self, count: int) -> None:
        self.count = count
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(count, mp_context=context) if count > 1 else None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield results in the order of the items; CapacityError where a worker was killed, as for lack of memory."""
        if self._pool is None:
            yield from map(function, items)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for item in items:
                waiting.append(self._pool.submit(function, item))
                if len(waiting) >= 2 * self.count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise CapacityError(
                "a worker process ended suddenly",
                why="the system killed it, most often because memory ran out",
                fix="free memory, or use fewer workers",
            ) from error
