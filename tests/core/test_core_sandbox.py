"""The capped child: budgets that hold, nothing inherited, nothing left, and what it says of its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from seedbed.core.errors import CapacityError
from seedbed.core.sandbox import Budget, Cause, KeptChild, OutOfBudget, run

CALLS = "sandboxed_calls"
SMALL = Budget(seconds=5.0, memory_bytes=200_000_000, output_bytes=100_000)
linux = pytest.mark.skipif(sys.platform != "linux", reason="seccomp and /proc are Linux's")


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def call(name: str, budget: Budget = SMALL, **order: Any) -> Any:
    return run(f"{CALLS}:{name}", order, budget)


def test_an_answer_and_standard_input() -> None:
    assert call("add", left=2, right=3) == 5
    with tempfile.TemporaryFile() as file:
        file.write("grüße".encode())
        file.seek(0)
        assert run(f"{CALLS}:read_input", {}, SMALL, file) == "grüße"


def test_our_errors_come_back_as_they_were() -> None:
    with pytest.raises(CapacityError, match="too much") as caught:
        call("refuse")
    assert (caught.value.why, caught.value.fix) == ("as ever", "less")


@pytest.mark.parametrize(
    ("name", "order", "cause"),
    [
        ("spin", {}, "seconds"),
        ("spin_in_c", {}, "seconds"),
        ("hold", {"count": 400_000_000}, "memory"),
        ("big", {"count": 200_000}, "output"),
        ("nested", {}, "depth"),
        ("fail", {}, "raised"),
        ("panic", {}, "raised"),
        ("crash", {}, "crash"),
    ],
)
@pytest.mark.parametrize("kept", [False, True])
def test_every_end_has_its_cause(name: str, order: dict[str, Any], cause: Cause, kept: bool) -> None:
    budget = Budget(1.0, SMALL.memory_bytes, SMALL.output_bytes)
    worker = KeptChild(f"{CALLS}:{name}", budget)
    started = time.monotonic()
    with pytest.raises(OutOfBudget) as caught:
        worker.ask(order) if kept else call(name, budget, **order)
    worker.close()
    assert caught.value.cause == cause
    assert time.monotonic() - started < 10


def test_no_secret_of_the_environment_and_no_open_file_gets_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("SEEDBED_KEY", "sb-secret")
    assert "secret" not in str(call("environment"))
    if sys.platform == "linux":
        with (tmp_path / "private").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            assert str(tmp_path) not in str(call("descriptors"))


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of processes")
def test_no_file_grows_beyond_the_answer_s_cap(tmp_path: Path) -> None:
    with pytest.raises(OutOfBudget, match="failed") as caught:
        call("write", path=str(tmp_path / "out"), count=1_000_000)
    assert "File too large" in caught.value.why
    assert (tmp_path / "out").stat().st_size == SMALL.output_bytes


@linux
def test_it_starts_nothing_and_opens_no_socket() -> None:
    assert call("tried") == dict.fromkeys(("program", "process", "socket", "signal"), "Operation not permitted")


@linux
@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_us(tmp_path: Path, sign: signal.Signals) -> None:
    mark = tmp_path / "pid"
    code = f"from seedbed.core.sandbox import *; run('{CALLS}:linger', {{'mark': {str(mark)!r}}}, Budget(100.0))"
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    deadline = time.monotonic() + 30
    while not (mark.exists() and mark.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(mark.read_text())
    process.send_signal(sign)
    process.wait()
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_a_worker_keeps_its_child_and_replaces_a_dead_one() -> None:
    worker = KeptChild(f"{CALLS}:hold", Budget(5.0, 200_000_000, 100_000))
    assert [worker.ask({"count": 1_000_000}) for _ in range(3)] == [1_000_000, 2_000_000, 3_000_000]
    with pytest.raises(OutOfBudget) as caught:
        worker.ask({"count": 300_000_000})
    assert caught.value.cause == "memory"
    assert worker.ask({"count": 5}) == 5
    worker.close()


def test_what_earlier_calls_left_is_not_held_against_the_next() -> None:
    worker = KeptChild(f"{CALLS}:hold", Budget(5.0, 200_000_000, 100_000))
    assert worker.ask({"count": 120_000_000}) == 120_000_000
    assert worker.ask({"count": 120_000_001}) == 120_000_001  # in a new child: together they do not fit
    worker.close()


def test_threads_share_a_worker_and_each_gets_its_own_answer() -> None:
    worker = KeptChild(f"{CALLS}:add", SMALL)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda one: worker.ask({"left": one, "right": 1}), range(200)))
    assert found == list(range(1, 201))
    worker.close()
    assert threading.active_count() < 50
