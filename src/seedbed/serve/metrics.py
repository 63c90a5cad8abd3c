"""Counters in Prometheus' text format. Labels come from our own routes and models, so their number is bounded."""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping

from seedbed.inference.engine import Stats

_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_FIRST = "seedbed_time_to_first_token_seconds"


class Metrics:
    """Counters of a server; only its event loop changes them."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.prompt_tokens = self.generated_tokens = self.slow_readers = self.disconnects = self.in_flight = 0
        self._first, self._first_sum = [0] * (len(_BUCKETS) + 1), 0.0

    def first_token(self, seconds: float) -> None:
        """Count one reply that began after so many seconds."""
        self._first[bisect_left(_BUCKETS, seconds)] += 1
        self._first_sum += seconds

    def text(self, engines: Mapping[str, Stats]) -> str:
        """Everything, with the state of each loaded model's engine."""
        return "\n".join([*self._own(), *_engines(engines)]) + "\n"

    def _own(self) -> Iterator[str]:
        yield "# TYPE seedbed_requests_total counter"
        for (path, status), count in sorted(self.requests.items()):
            yield f'seedbed_requests_total{{path="{path}",status="{status}"}} {count}'
        for name in ("prompt_tokens", "generated_tokens", "slow_readers", "disconnects"):
            yield f"# TYPE seedbed_{name}_total counter\nseedbed_{name}_total {getattr(self, name)}"
        yield f"# TYPE seedbed_requests_in_flight gauge\nseedbed_requests_in_flight {self.in_flight}"
        yield f"# TYPE {_FIRST} histogram"
        for place, limit in enumerate((*map(str, _BUCKETS), "+Inf"), 1):
            yield f'{_FIRST}_bucket{{le="{limit}"}} {sum(self._first[:place])}'
        yield f"{_FIRST}_sum {self._first_sum:.6f}\n{_FIRST}_count {sum(self._first)}"


def _engines(engines: Mapping[str, Stats]) -> Iterator[str]:
    yield f"# TYPE seedbed_models_loaded gauge\nseedbed_models_loaded {len(engines)}"
    for field in dataclasses.fields(Stats):
        yield f"# TYPE seedbed_engine_{field.name} gauge"
        for model, stats in engines.items():
            yield f'seedbed_engine_{field.name}{{model="{model}"}} {getattr(stats, field.name)}'
