"""The server of ``soak.py``: its process, its keys, and what it holds while it runs and at the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from seedbed.cli.serve import KEYS, home
from seedbed.core.artifacts import Library
from seedbed.serve.auth import Keys


@dataclass
class Usage:
    """What a server's process holds; memory of its children apart."""

    rss: int
    children_rss: int
    descriptors: int
    children: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Read it from /proc."""
        children = [int(one) for one in _children(pid)]
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        descriptors = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        return cls(_rss(pid), sum(map(_rss, children)), descriptors, len(children), threads)


def _children(pid: int) -> list[str]:
    found: list[str] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            found += (task / "children").read_text().split()
    return found


def _rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


async def watch(pid: int, found: list[Usage]) -> None:
    """Read the usage every two seconds, until the process ends or nobody wants to know."""
    with suppress(OSError):
        while True:
            found.append(Usage.of(pid))
            await asyncio.sleep(2)


@contextmanager
def serving(model: str, temporary: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a server with a folder of its own for temporary files; yields it and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from seedbed.cli.main import main; main()", "serve", model, "--port", str(port)]
    environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):
                if httpx.get(f"{url}/health", trust_env=False).status_code == 200:
                    break
            time.sleep(0.2)
        yield process, url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


@contextmanager
def made_keys(count: int) -> Iterator[tuple[list[str], str]]:
    """Make keys in the library for as long as the soak lasts; yields them, and one that sees all metrics."""
    keys, names = Keys(home(Library()) / KEYS), [f"soak-{os.getpid()}-{number}" for number in range(count)]
    admin = f"soak-{os.getpid()}-admin"
    try:
        yield [keys.create(name) for name in names], keys.create(admin, admin=True)
    finally:
        for name in [*names, admin]:
            keys.remove(name)


def metrics(url: str, key: str) -> dict[str, float]:
    """Return a server's metrics by name and labels."""
    text = httpx.get(f"{url}/metrics", headers={"authorization": f"Bearer {key}"}, trust_env=False).text
    lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def flatness(values: list[int]) -> float:
    """Return how far the medians of twenty stretches of the last two thirds stray from their own median, as a share."""
    last = values[len(values) // 3 :]
    size = max(1, len(last) // 20)
    medians = [statistics.median(last[at : at + size]) for at in range(0, len(last) - size + 1, size)]
    middle = statistics.median(medians)
    return max(abs(one - middle) for one in medians) / middle


def left_over(pid: int, idle: Usage, url: str, admin: str, temporary: Path) -> list[str]:
    """Return what a server holds some seconds after its last request: blocks, requests, processes, files.

    ``idle``: what it held before. A few descriptors are those of open collections, and some children are kept.
    """
    settled = time.monotonic() + 60
    while metrics(url, admin)["seedbed_requests_in_flight"] > 1 and time.monotonic() < settled:
        time.sleep(1)
    time.sleep(5)
    end, told = Usage.of(pid), metrics(url, admin)
    held = {
        name.partition("{")[0].rpartition("engine_")[2]: value for name, value in told.items() if "_engine_" in name
    }
    found = [f"{held[name]:g} {name}" for name in ("running", "waiting", "waiting_tokens") if held[name]]
    if held["blocks"] != held["free_blocks"]:
        found.append(f"{held['blocks'] - held['free_blocks']:g} KV blocks")
    if (in_flight := told["seedbed_requests_in_flight"]) > 1:
        found.append(f"{in_flight - 1:g} requests in flight")
    if end.descriptors > idle.descriptors + 10:
        found.append(f"{end.descriptors} descriptors, {idle.descriptors} before")
    if end.children > 8:
        found.append(f"{end.children} child processes")
    return found + [f"temporary file {path}" for path in temporary.rglob("*")]
