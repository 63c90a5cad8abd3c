"""Functions that the tests of the sandbox call in a child."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from seedbed.core.errors import CapacityError

held: list[bytes] = []


def add(left: int, right: int) -> int:
    return left + right


def read_input() -> str:
    return sys.stdin.read()


def hold(count: int) -> int:
    held.append(bytes(count))
    return sum(map(len, held))


def spin() -> None:
    while True:
        pass


def spin_in_c() -> None:
    sum(range(10**12))


def big(count: int) -> str:
    return "a" * count


def write(path: str, count: int) -> None:
    Path(path).write_bytes(bytes(count))


def nested() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return repr(value)


def refuse() -> None:
    raise CapacityError("too much", why="as ever", fix="less")


def fail() -> None:
    raise KeyError("missing")


class Panic(BaseException):
    pass


def panic() -> None:
    raise Panic("a library panicked")


def die(signal: int) -> None:
    os.kill(os.getpid(), signal)


def crash() -> None:
    ctypes.string_at(0)


def environment() -> dict[str, str]:
    return dict(os.environ)


def descriptors() -> list[str]:
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(str(path.readlink()))
    return found


def tried() -> dict[str, str]:
    """Try what no parser needs; returns the errors."""
    found = {}
    for name, act in (
        ("program", lambda: subprocess.run(["true"], check=True)),
        ("process", os.fork),
        ("socket", socket.socket),
        ("signal", lambda: os.kill(os.getppid(), 0)),
    ):
        try:
            act()
            found[name] = "allowed"
        except OSError as error:
            found[name] = str(error.strerror)
    return found


def linger(mark: str) -> None:
    """Start a process that would outlive the child, where it can, then wait."""
    Path(mark).write_text(str(os.getpid()))
    with suppress(OSError):
        subprocess.Popen(["sleep", "300"], start_new_session=True)
    time.sleep(300)
