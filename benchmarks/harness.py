"""Shared parts of the benchmarks: competitors in processes of their own, and how busy the machine is with other work.

A competitor is started once and then answers one line of JSON for each line it is sent, so that the parent can let
two take turns: what disturbs one disturbs the other. It imports PyTorch itself, because allocator settings must be
made before; the parent never does.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BUSY = 0.05
"""Other processes' share of the cores above which a result carries a warning."""


class Competitor:
    """A process of a benchmark script, started as ``script --worker NAME --options JSON``."""

    def __init__(self, script: Path, name: str, options: dict[str, Any]) -> None:
        self.name = name
        command = [sys.executable, str(script), "--worker", name, "--options", json.dumps(options)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **request: Any) -> Any:
        """Send a request and wait for its answer.

        Raises:
            RuntimeError: the process ended; its own message is on standard error.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the answer below is then empty
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the process of {self.name} ended with exit code {self.process.wait()}")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def serve(handle: Callable[[dict[str, Any]], Any]) -> None:
    """Answer requests until standard input ends; what libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            print(json.dumps(handle(json.loads(line))), file=answers, flush=True)


def peak_memory() -> int:
    """The most bytes this program has held resident; ``ru_maxrss`` would count what its parent held before."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.M)
    return int(found[1]) * 1024 if found else 0


class OtherLoad:
    """The share of all cores that other processes (and other virtual machines) take while we measure."""

    def __init__(self, competitors: Sequence[Competitor] = ()) -> None:
        self.processes = [os.getpid(), *(competitor.process.pid for competitor in competitors)]
        self.started, self.busy, self.own = time.perf_counter(), _busy_seconds(), self._own_seconds()

    def share(self) -> float:
        """From 0 to 1, since this object was made; 0 where /proc cannot tell."""
        cores = os.cpu_count() or 1
        others = (_busy_seconds() - self.busy) - (self._own_seconds() - self.own)
        return max(0.0, others / (cores * (time.perf_counter() - self.started)))

    def _own_seconds(self) -> float:
        return sum(_process_seconds(process) for process in self.processes)


def _busy_seconds() -> float:
    """Seconds all cores were busy since boot, those stolen by the host included."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, path.read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _process_seconds(process: int) -> float:
    path = Path(f"/proc/{process}/stat")
    if not path.exists():
        return 0.0
    fields = path.read_text().rpartition(")")[2].split()  # the name before may hold spaces
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def busy_warning(share: float) -> str:
    """A warning for the reader, or nothing."""
    if share <= BUSY:
        return ""
    return f"warning: other processes used {share:.0%} of the cores; trust the ratios, not the absolute figures"


class Row:
    """Tokens in memory, with the face of a shard."""

    def __init__(self, tokens: Any) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def read(self, start: int, stop: int) -> Any:
        """Tokens ``start … stop - 1``."""
        return self.tokens[start:stop]


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
