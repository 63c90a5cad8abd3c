"""The child of :mod:`seedbed.core.sandbox`: ``python -m seedbed.core.sandboxed OPTIONS``.

It caps itself after it has imported the module it was told to call, so that memory is counted beyond the program, and
before it reads its order. What the called code prints goes nowhere: standard output is for answers alone.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seedbed.core import errors
from seedbed.core.errors import SeedbedError

_GRACE = 1.0  # seconds that a child has beyond its budget: our parent ends it first, if it still runs

_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _MODE_FILTER = 1, 38, 22, 2
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000  # seccomp's answers; a refusal has the error number in its low bits
_EPERM, _ENOSYS, _CLONE_THREAD = 1, 38, 0x10000
_NUMBERS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    # audit architecture; clone; what is refused: fork, vfork, execve, execveat, socket, socketpair, ptrace, kill,
    # process_vm_readv, process_vm_writev, io_uring_setup
    "x86_64": (0xC000003E, 56, (57, 58, 59, 322, 41, 53, 101, 62, 310, 311, 425)),
    "aarch64": (0xC00000B7, 220, (221, 281, 198, 199, 117, 129, 270, 271, 425)),
}
_CLONE3 = 435  # on all architectures; its flags lie behind a pointer, so it is said not to be there: libc uses clone
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16  # in the kernel's ``struct seccomp_data``
_LOAD, _JUMP_EQUAL, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x45, 0x06


def main(options_text: str) -> None:
    """Answer the order among the options, or those of standard input, one a line, until it ends."""
    options = json.loads(options_text)
    module, _, name = options["target"].partition(":")
    function = getattr(importlib.import_module(module), name)
    answers = os.dup(1)
    os.dup2(2, 1)
    if options["order"] is not None:
        _cap(options["memory_bytes"], options["seconds"], options["output_bytes"])
        _write(answers, _call(function, options["order"]))
        return
    _cap(options["memory_bytes"], None, 0)
    for line in sys.stdin.buffer:
        _set_alarm(options["seconds"] + _GRACE)
        answer = _call(function, json.loads(line))
        _set_alarm(0)
        _write(answers, answer + b"\n")


def _call(function: Callable[..., Any], order: dict[str, Any]) -> bytes:
    try:
        found: dict[str, Any] = {"value": function(**order)}
        return json.dumps(found).encode()
    except SeedbedError as error:
        kind = next(one.__name__ for one in type(error).__mro__ if one.__module__ == errors.__name__)
        found = {"error": [kind, error.what, error.why, error.fix]}
    except MemoryError:
        found = {"cause": "memory", "why": "it needs more memory than it may have"}
    except RecursionError:
        found = {"cause": "depth", "why": "its parts are nested too deeply"}
    except BaseException as error:  # panics of libraries in Rust are no Exception
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        found = {"cause": "raised", "why": str(error)[:2000] or type(error).__name__}
    return json.dumps(found).encode()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _cap(memory_bytes: int, seconds: float | None, output_bytes: int) -> None:
    """Cap this process for good; a limit that the system does not know or lowers by itself stays as it is.

    ``seconds``: of processor time, None for no cap in all. ``output_bytes``: of any file it writes; of none with 0.
    """
    if sys.platform == "win32":
        return
    import resource

    caps = {"AS": _address_space() + memory_bytes, "FSIZE": output_bytes, "CORE": 0}
    if seconds is not None:
        caps["CPU"] = math.ceil(seconds) + 1
        _set_alarm(seconds + _GRACE)
    for name, cap in caps.items():
        with suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (cap, cap + (name == "CPU")))
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            _forbid(ends_with_parent=seconds is not None)


def _set_alarm(seconds: float) -> None:
    """End this process after so many seconds, whatever code it is in; never with 0."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, seconds)


@contextmanager
def tightened(memory_bytes: int) -> Iterator[None]:
    """Lower this process's cap of memory, for a while, to the address space it holds now and so much more."""
    if not (now := _address_space()):
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    cap = now + memory_bytes if soft == resource.RLIM_INFINITY else min(now + memory_bytes, soft)
    resource.setrlimit(resource.RLIMIT_AS, (cap, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _address_space() -> int:
    """Return the bytes of address space in use; 0 where unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def _forbid(*, ends_with_parent: bool) -> None:
    """Refuse, for good, what a parser has no need of: new processes, other programs, sockets, signals to others.

    Reference: Linux's Documentation/userspace-api/seccomp_filter.rst. Threads stay allowed.
    """
    control = ctypes.CDLL(None, use_errno=True).prctl
    if ends_with_parent:
        control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if (numbers := _NUMBERS.get(platform.machine())) is None:
        return
    program = _filter(*numbers)
    kept = ctypes.create_string_buffer(program, len(program))

    class FilterProgram(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))

    told = FilterProgram(len(program) // 8, ctypes.cast(kept, ctypes.c_void_p))
    if control(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0:
        control(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(told), 0, 0)


def _filter(architecture: int, clone: int, refused: tuple[int, ...]) -> bytes:
    """Return the program of the filter: eight bytes an instruction, jumps count instructions from the next one."""

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    steps = [step(_LOAD, _ARCHITECTURE_AT), step(_JUMP_EQUAL, architecture, 1), step(_RETURN, _ALLOW)]
    steps.append(step(_LOAD, _NUMBER_AT))
    for number, error in [*((one, _EPERM) for one in refused), (_CLONE3, _ENOSYS)]:
        steps += [step(_JUMP_EQUAL, number, 0, 1), step(_RETURN, _REFUSE | error)]
    steps += [step(_JUMP_EQUAL, clone, 0, 3), step(_LOAD, _FIRST_ARGUMENT_AT)]
    steps += [step(_JUMP_BITS, _CLONE_THREAD, 1, 0), step(_RETURN, _REFUSE | _EPERM)]
    return b"".join([*steps, step(_RETURN, _ALLOW)])


if __name__ == "__main__":
    main(sys.argv[1])
