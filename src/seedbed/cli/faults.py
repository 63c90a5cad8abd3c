"""Faults of the machine that a command ran into, as errors of ours: the last net below every command.

A part that can say more does so itself. What is no fault of the machine is a bug, and keeps its traceback.
"""

from __future__ import annotations

import errno
import os
import sys

from seedbed.core.errors import CapacityError, SeedbedError, UsageError
from seedbed.core.files import NO_ROOM, is_read_only

_MEMORY = (  # as the system, PyTorch, zstandard, the loader, Python, Rust's thread pool and NumPy say it
    *("cannot allocate memory", "can't allocate memory", "out of memory", "not enough memory", "failed to map segment"),
    *("can't start new thread", "thread pool has not been initialized", "error return without exception set"),
)
_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}
_KEPT = "what was stored before is as it was"


def as_ours(error: BaseException) -> SeedbedError | None:
    """Return the error for a fault of the machine; None for a bug."""
    told = " ".join(str(error).split())
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, MemoryError) or number == errno.ENOMEM or any(one in told.lower() for one in _MEMORY):
        return _no_memory(told)
    if number in NO_ROOM:
        fix = "free some space (`seedbed ls`, `seedbed rm NAME`), or set SEEDBED_HOME to a larger disk"
        return CapacityError("the disk is full", why=f"{told}; {_KEPT}", fix=fix)
    if number in _DESCRIPTORS or os.strerror(errno.EMFILE).lower() in told.lower():
        return CapacityError("too many files are open", why=f"{told}; {_KEPT}", fix="raise the limit: `ulimit -n 1024`")
    if isinstance(error, OSError) and is_read_only(error):
        fix = "check the permissions of that place, or set SEEDBED_HOME to a folder of yours"
        return UsageError("a place may not be read or written", why=told, fix=fix)
    if isinstance(error, (OSError, *_database_errors())):
        fix = "check the place that it names; --debug shows where it happened"
        return SeedbedError("the system refused", why=f"{type(error).__name__}: {told}", fix=fix)
    return None


def _database_errors() -> tuple[type[BaseException], ...]:
    """Return SQLite's error, if anything has used it."""
    return (sqlite.Error,) if (sqlite := sys.modules.get("sqlite3")) else ()


def _no_memory(told: str) -> CapacityError:
    fix = "close other programs, raise the limit (`ulimit -v`), or take a smaller model or part (`seedbed fit MODEL`)"
    return CapacityError("there is too little memory", why=f"{told or 'an allocation failed'}; {_KEPT}", fix=fix)
