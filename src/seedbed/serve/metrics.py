"""Counters of a server, for Prometheus: of all requests, and of each key for its owner alone.

Only the event loop changes them. Labels come from our own routes and models, so their number is bounded; so is that of
the keys.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

from seedbed.inference.engine import Stats

_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_FIRST = "seedbed_time_to_first_token_seconds"
_COUNTED = ("prompt_tokens", "generated_tokens", "slow_readers", "disconnects")


class Metrics:
    """Counters, of one key or of all: what counts for a key counts for all."""

    def __init__(self, whole: Metrics | None = None) -> None:
        self._whole, self._keys = whole, dict[str, Metrics]()
        self.requests: Counter[tuple[str, int]] = Counter()
        self.counts: Counter[str] = Counter()
        self._first, self._first_sum = [0] * (len(_BUCKETS) + 1), 0.0

    def of(self, owner: str) -> Metrics:
        """Return the counters of a key."""
        return self._keys.setdefault(owner, Metrics(self))

    def forget(self, owners: set[str]) -> None:
        """Forget the counters of keys that were removed; those of all keep what they counted."""
        for owner in owners:
            self._keys.pop(owner, None)

    @property
    def owners(self) -> set[str]:
        """The keys that have counters."""
        return set(self._keys)

    def answered(self, path: str, status: int) -> None:
        """Count a request that has ended, by its route and the status of its answer."""
        for one in self._both():
            one.requests[path, status] += 1

    def add(self, name: str, amount: int = 1) -> None:
        """Count so many more tokens read or written, slow readers, or clients that left."""
        for one in self._both():
            one.counts[name] += amount

    def first_token(self, seconds: float) -> None:
        """Count one reply that began after so many seconds."""
        for one in self._both():
            one._first[bisect_left(_BUCKETS, seconds)] += 1
            one._first_sum += seconds

    def text(self, in_flight: int, engines: Mapping[str, Stats] | None = None) -> str:
        """Return everything that is counted here; with the state of each loaded model's engine where that is given.

        ``in_flight``: requests that have not ended.
        """
        gauge = "seedbed_requests_in_flight"
        lines = [*self._lines(), f"# TYPE {gauge} gauge\n{gauge} {in_flight}"]
        return "\n".join([*lines, *(_engines(engines) if engines is not None else ())]) + "\n"

    def _both(self) -> Iterator[Metrics]:
        yield self
        if self._whole is not None:
            yield self._whole

    def _lines(self) -> Iterator[str]:
        yield "# TYPE seedbed_requests_total counter"
        for (path, status), count in sorted(self.requests.items()):
            yield f'seedbed_requests_total{{path="{path}",status="{status}"}} {count}'
        for name in _COUNTED:
            yield f"# TYPE seedbed_{name}_total counter\nseedbed_{name}_total {self.counts[name]}"
        yield f"# TYPE {_FIRST} histogram"
        for place, limit in enumerate((*map(str, _BUCKETS), "+Inf"), 1):
            yield f'{_FIRST}_bucket{{le="{limit}"}} {sum(self._first[:place])}'
        yield f"{_FIRST}_sum {self._first_sum:.6f}\n{_FIRST}_count {sum(self._first)}"


def _engines(engines: Mapping[str, Stats]) -> Iterator[str]:
    yield f"# TYPE seedbed_models_loaded gauge\nseedbed_models_loaded {len(engines)}"
    for name in (one.name for one in dataclasses.fields(Stats)):
        yield f"# TYPE seedbed_engine_{name} gauge"
        for model, stats in engines.items():
            yield f'seedbed_engine_{name}{{model="{model}"}} {getattr(stats, name)}'
