"""Run code on foreign input in a capped child: the one place that keeps hostile files, templates and grammars at bay.

A child has a budget of time, memory and output that it cannot get around; it sees no secret of our environment, no
open file but those it is given, and on Linux it can start no process and open no socket (``seccomp``), so that nothing
outlives it. It ends with us. On other systems its processes are killed as a group, and only time and output are capped
where the system has no ``resource`` limits. It still has the rights of the user over files: it is a fence against
bombs, crashes and leaks, no jail for a program that was written to break out.

:func:`run` starts a fresh child for one call (about a tenth of a second and the imports); a :class:`KeptChild` keeps
one for many small calls, and replaces it when it dies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from queue import LifoQueue
from typing import Any, BinaryIO, Literal, cast

from seedbed.core import errors
from seedbed.core.errors import SeedbedError

Cause = Literal["seconds", "memory", "output", "depth", "crash", "raised"]
_CHILD = "seedbed.core.sandboxed"
_KEPT = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LD_LIBRARY_PATH")
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Budget:
    """The most that one call may use; a worker's memory is what all its calls hold together."""

    seconds: float
    memory_bytes: int = 2_000_000_000  # of address space, beyond the program and what it has imported
    output_bytes: int = 64_000_000  # of its answer, as JSON


class OutOfBudget(SeedbedError):
    """A call that broke its budget, died, or raised what is none of our errors: callers say what that means.

    ``cause``: the cap that was met; "depth": nested too deeply; "crash": the process died; "raised": some other error,
    whose text ``why`` is.
    """

    def __init__(self, cause: Cause, why: str) -> None:
        super().__init__("a sandboxed call failed", why=why, fix="leave out what it was given, or raise its limit")
        self.cause: Cause = cause

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.cause, self.why)


def run(target: str, order: Mapping[str, Any], budget: Budget, stream: BinaryIO | None = None) -> Any:
    """Call ``module:function`` with an order, in a child of its own. Returns its answer, which travels as JSON.

    Args:
        order: keyword arguments of JSON's types, at most some kilobytes; give more as a stream.
        stream: a real file that the function finds as its standard input.

    Raises:
        SeedbedError: what the function raised, if it is one of ours.
        OutOfBudget: everything else.
    """
    with tempfile.TemporaryFile() as answered:
        process = subprocess.Popen(
            _command(target, budget, order),
            stdin=stream or subprocess.DEVNULL,
            stdout=answered,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )
        try:
            code = process.wait(budget.seconds)
        except subprocess.TimeoutExpired as error:
            raise OutOfBudget("seconds", f"it took more than {budget.seconds:g} s") from error
        finally:
            _end(process)
        answered.seek(0)
        data = answered.read(budget.output_bytes + 1)
    if len(data) >= budget.output_bytes:
        raise OutOfBudget("output", f"its answer has more than {budget.output_bytes:,} bytes")
    if code != 0:
        raise _death(code, budget)
    return _answer(data)


class KeptChild:
    """A child that answers one call after another, from any thread; made on the first call, and again after a death.

    Args:
        target: ``module:function``, which takes one order (keyword arguments of JSON's types) and returns JSON's types.
        budget: of each call.
    """

    def __init__(self, target: str, budget: Budget) -> None:
        self._target, self._budget = target, budget
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, order: Mapping[str, Any]) -> Any:
        """Return the function's answer to an order. Raises as :func:`run`.

        A child that has answered before and dies of memory is replaced and asked once more: others may have filled it.
        """
        with self._lock:
            used = self._alive()
            try:
                return self._ask(order)
            except OutOfBudget as error:
                if not used or error.cause not in ("memory", "crash"):
                    raise
                return self._ask(order)

    def close(self) -> None:
        """End the child; the next call makes a new one."""
        with self._lock:
            self._stop()

    def _alive(self) -> bool:
        return self._process is not None and self._owner == os.getpid() and self._process.poll() is None

    def _ask(self, order: Mapping[str, Any]) -> Any:
        process, late = self._running(), threading.Event()
        timer = threading.Timer(self._budget.seconds, _expire, (process, late))
        timer.daemon = True
        timer.start()
        try:
            data = self._exchange(process, json.dumps(order).encode() + b"\n")
        finally:
            timer.cancel()
        if late.is_set():
            self._stop()
            raise OutOfBudget("seconds", f"it took more than {self._budget.seconds:g} s")
        if not data.endswith(b"\n"):
            too_much = len(data) >= self._budget.output_bytes
            code = self._stop()
            if too_much:
                raise OutOfBudget("output", f"its answer has more than {self._budget.output_bytes:,} bytes")
            raise _death(code, self._budget)
        try:
            return _answer(data)
        except OutOfBudget as error:
            if error.cause == "memory":  # it is full: others shall not meet what this call left
                self._stop()
            raise

    def _exchange(self, process: subprocess.Popen[bytes], line: bytes) -> bytes:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(line)
            process.stdin.flush()
            return process.stdout.readline(self._budget.output_bytes)
        except OSError:  # it died as it was asked
            return b""
        except BaseException:  # Ctrl-C in between: its answer must not be the next call's
            self._stop()
            raise

    def _running(self) -> subprocess.Popen[bytes]:
        if not self._alive():
            self._process, self._owner = None, os.getpid()  # a forked process leaves its parent's child alone
            self._process = subprocess.Popen(
                _command(self._target, self._budget),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,
            )
        assert self._process is not None
        return self._process

    def _stop(self) -> int:
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return 0
        code = _end(process)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not yet written has no reader
                    pipe.close()
        return code


class KeptChildren:
    """Some workers for the same calls: one that is busy does not keep the next call waiting while another is free."""

    def __init__(self, target: str, budget: Budget, count: int) -> None:
        self._idle = LifoQueue[KeptChild]()  # the last one used is the warm one
        for _ in range(count):
            self._idle.put(KeptChild(target, budget))

    def ask(self, order: Mapping[str, Any]) -> Any:
        """Return the answer of the next free worker; as :meth:`KeptChild.ask`."""
        worker = self._idle.get()
        try:
            return worker.ask(order)
        finally:
            self._idle.put(worker)


def _expire(process: subprocess.Popen[bytes], late: threading.Event) -> None:
    late.set()
    _kill(process)


def _command(target: str, budget: Budget, order: Mapping[str, Any] | None = None) -> list[str]:
    told = {"target": target, "order": order, **asdict(budget)}
    return [sys.executable, "-P", "-m", _CHILD, json.dumps(told)]


def _environment() -> dict[str, str]:
    """Return what a child sees: our import folders, the system's few, and no more threads than one."""
    folders = [folder or os.getcwd() for folder in sys.path]  # noqa: PTH109
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(folders), "TOKENIZERS_PARALLELISM": "false"}


def _end(process: subprocess.Popen[bytes]) -> int:
    """Kill what is left of a child and of its group. Returns the code it ended with by itself, if it had."""
    code = process.poll()
    _kill(process)
    process.wait()
    return process.returncode if code is None else code


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # it has ended, and its group with it
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)


def _death(code: int, budget: Budget) -> OutOfBudget:
    if -code in (getattr(signal, name, None) for name in ("SIGXCPU", "SIGALRM", "SIGPROF")):
        return OutOfBudget("seconds", f"it took more than {budget.seconds:g} s")
    if code == -getattr(signal, "SIGXFSZ", 0) and code:
        return OutOfBudget("output", f"its answer has more than {budget.output_bytes:,} bytes")
    if code in (-signal.SIGKILL, -getattr(signal, "SIGABRT", 6)):  # libraries abort where memory is refused
        return OutOfBudget("memory", f"it needs more than {budget.memory_bytes:,} bytes of memory, or was stopped")
    return OutOfBudget("crash", f"it crashed (exit code {code})")


def _answer(data: bytes) -> Any:
    try:
        found = json.loads(data)
    except ValueError as error:
        raise OutOfBudget("crash", f"it gave no answer: {error}") from error
    if "error" in found:
        kind, what, why, fix = found["error"]
        raise getattr(errors, kind)(what, why=why, fix=fix)
    if "cause" in found:
        raise OutOfBudget(cast(Cause, found["cause"]), found["why"])
    return found["value"]
