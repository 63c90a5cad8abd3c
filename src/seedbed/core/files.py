"""Files that are either the old ones or the new ones, never half of each: write aside, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from seedbed.core.errors import CapacityError, CorruptError, UsageError
from seedbed.core.leftovers import draft_directory, draft_file, is_draft, moved_aside

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_RIGHT = {errno.EROFS, errno.EACCES, errno.EPERM}


NOT_REGULAR = "it is no regular file but a pipe, a socket, a device or a folder"


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; anything else is refused without waiting for it, as a pipe would make us wait.

    What it is is asked before it is opened, which some devices notice, and of the open file again, in case the name has
    come to mean something else in between.

    Raises OSError: it cannot be opened, or is no regular file.
    """
    _require_regular(path.stat().st_mode, path)
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_text(path: Path, most: int = 100_000_000) -> str:
    """Read a regular file of UTF-8. Raises OSError: as :func:`open_regular`, or it has more than ``most`` bytes."""
    with open_regular(path) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EINVAL, f"it has more than {most:,} bytes, the most of a file of its kind", str(path))
    return data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")


def check_regular(path: Path) -> None:
    """Check that a path is a regular file, or a folder of such files and of folders; links may lead to them.

    Raises UsageError: it is, or holds, a pipe, a socket or a device, which would keep its reader waiting.
    """
    for one in sorted(path.iterdir()) if path.is_dir() else [path]:
        if one.exists() and not one.is_file() and not one.is_dir():
            fix = "take it out of the folder" if one != path else "name a file or a folder"
            raise UsageError(f"{one} cannot be read", why="it is a pipe, a socket or a device", fix=fix)


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, NOT_REGULAR, str(path))


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a regular file's bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """Return the hex SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces: the form that is hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    with open_regular(path) as file:
        return json.loads(file.read().decode("utf-8"))


_KINDS = (  # first bytes of files that are often found in another's place, and how to get the right one
    (b"version https://git-lfs.github.com/spec", "a git-lfs pointer, not the file itself", "run `git lfs pull` there"),
    (b"GGUF", "a GGUF file", "name it as the model itself"),
    (b"PK\x03\x04", "a zip archive, as pickle files of PyTorch are", "take the model's .safetensors files"),
    (b"\x80\x02", "a pickle file", "take the model's .safetensors files"),
    (b"\x1f\x8b", "a gzip archive", "unpack it"),
    (b"<!doctype", "a page of HTML, as a site answers in a file's place", "download the file itself"),
    (b"<html", "a page of HTML, as a site answers in a file's place", "download the file itself"),
)


def mistaken(path: Path) -> tuple[str, str] | None:
    """Return what a file is by its first bytes, and the way out; None where they tell nothing. For error messages."""
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
    except OSError:
        return None
    return next(
        ((f"it is {kind}", fix) for bytes_, kind, fix in _KINDS if start.lower().startswith(bytes_.lower())), None
    )


def read_json_object(path: Path, *, fix: str, most: int = 20_000_000) -> dict[str, Any]:
    """Read a JSON object from outside. Raises CorruptError: unreadable, no object, or more than ``most`` bytes."""
    try:
        if (size := path.stat().st_size) > most:
            raise ValueError(f"it has {size} bytes, at most {most} are read")
        value = read_json(path)
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}, not an object")
    except (OSError, ValueError, RecursionError) as error:
        why, fix = mistaken(path) or (str(error), fix)
        raise CorruptError(f"{path} cannot be read", why=why, fix=fix) from error
    return value


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file's text atomically. Raises CapacityError: the disk is full; the old file is untouched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk_errors(path.parent), draft_file(path) as (descriptor, draft):
        with os.fdopen(descriptor, "w", encoding="utf-8", closefd=False) as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        draft.replace(path)
        sync_directory(path.parent)


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Fill a temporary directory that becomes ``target`` when the block ends well.

    A killed process leaves no half of a target. An existing one is replaced; see :func:`replace_directory`.

    Raises:
        CapacityError: the disk is full; the old target is untouched.
        UsageError: its folder cannot be written.
    """
    if is_draft(target):  # part of something larger in the making, which is renamed as a whole
        yield target
        return
    with scratch_directory(target) as draft:
        yield draft
        sync_tree(draft)
        replace_directory(draft, target)


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """Yield a private folder beside ``target`` for the block alone; what a killed process left there goes.

    Raises as :func:`new_directory`.
    """
    with disk_errors(target.parent), ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = stack.enter_context(draft_directory(target))
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            raise UsageError(f"{target} cannot be written", why=str(error), fix="name another place") from error
        yield draft


def sync_tree(folder: Path) -> None:
    """Force a folder and all in it to the disk."""
    for path in folder.rglob("*"):
        sync_directory(path) if path.is_dir() else sync_file(path)
    sync_directory(folder)


_users_umask: int | None = None  # while the process's own is stricter


@contextmanager
def private_files() -> Iterator[None]:
    """Make all that this process creates in the block its owner's alone, but for :func:`open_to_others`."""
    global _users_umask
    before, known = os.umask(0o077), _users_umask
    _users_umask = before if known is None else known
    try:
        yield
    finally:
        os.umask(before)
        _users_umask = known


def open_to_others(target: Path) -> None:
    """Give a file, or a folder and all in it, the permissions that the user's umask leaves to new files."""
    mask = _users_umask
    if mask is None:
        mask = os.umask(0o077)
        os.umask(mask)
    for path in (target, *target.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def replace_directory(draft: Path, target: Path) -> None:
    """Rename ``draft`` to ``target``.

    A directory cannot be renamed over a full one: the old one steps aside first, and comes back if the new one cannot
    take its place, or with the next command where the process is killed between the two.
    """
    if target.exists():
        with moved_aside(target):
            draft.rename(target)
            sync_directory(target.parent)
    else:
        draft.rename(target)
        sync_directory(target.parent)


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Force a directory's entries to the disk, so that a rename survives a power cut."""
    if os.name == "posix":
        sync_file(path)


def is_read_only(error: OSError) -> bool:
    """Tell whether the system does not let us write there."""
    return error.errno in _NO_RIGHT


@contextmanager
def disk_errors(where: Path) -> Iterator[None]:
    """Turn "no space left" into an error with a remedy."""
    try:
        yield
    except CapacityError:
        raise
    except Exception as error:  # writers in Rust (safetensors) have the system's number in their text
        written = re.search(r"os error (\d+)", str(error))
        if (error.errno if isinstance(error, OSError) else int(written[1]) if written else None) in NO_ROOM:
            free = shutil.disk_usage(where).free
            why = f"writing under {where} failed with {free / 2**20:.0f} MiB free; nothing that was there is lost"
            fix = "free some space (`seedbed ls`, `seedbed rm NAME`) or set SEEDBED_HOME to a larger disk"
            raise CapacityError("the disk is full", why=why, fix=fix) from error
        raise
