"""Small state files that several processes change: locked, read anew, written atomically.

Reading takes no lock: a file is replaced whole, so a reader has the old state or the new one. A lock is the system's
own, on a file beside: it is free again when its process ends, however that ends.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from seedbed.core import files
from seedbed.core.errors import SeedbedError, UsageError

WAIT = 30.0
"""Seconds that a change waits for another process."""


@contextmanager
def locked(path: Path, wait: float = WAIT) -> Iterator[None]:
    """Hold the lock of a file or folder, ``.NAME.lock`` beside it, throughout the block.

    Locks of one path do not nest: hold one at a time.

    Raises:
        SeedbedError: another process holds it for too long.
        UsageError: its folder cannot be written.
        CapacityError: the disk is full.
    """
    with files.disk_errors(path.parent):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held = FileLock(path.with_name(f".{path.name}.lock"), timeout=wait, mode=0o600)
            held.acquire()
        except Timeout as error:
            why = f"another process has been changing it for {wait:g} s"
            raise SeedbedError(f"{path} is in use", why=why, fix="end that process, or wait, and try again") from error
        except OSError as error:
            if not files.is_read_only(error) and not isinstance(error, (FileExistsError, NotADirectoryError)):
                raise
            raise read_only(path, error) from error
    try:
        yield
    finally:
        held.release()


@contextmanager
def changing_json(path: Path, new: Any, wait: float = WAIT) -> Iterator[Any]:
    """Yield the value of a JSON file, or ``new`` where there is none, and write what the block has made of it.

    Nothing is written where the block raises. Raises as :func:`locked`, and ValueError where the file is no JSON.
    """
    with locked(path, wait):
        try:
            value = files.read_json(path)
        except FileNotFoundError:
            value = new
        yield value
        files.write_json(path, value)


def read_only(path: Path, error: OSError) -> UsageError:
    """Return the error of a place that may not be written."""
    fix = "check its permissions, or set SEEDBED_HOME to a folder of yours"
    return UsageError(f"{path} cannot be changed", why=str(error), fix=fix)
