"""Files that are either the old ones or the new ones, never half of each: write aside, fsync, rename."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from seedbed.core.errors import CapacityError, CorruptError, UsageError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
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
    return json.loads(path.read_text(encoding="utf-8"))


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
    with disk_errors(path.parent):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync_directory(path.parent)


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Fill a temporary directory that becomes ``target`` when the block ends well.

    A killed process leaves no half of a target. An existing one is replaced; see :func:`replace_directory`.

    Raises:
        CapacityError: the disk is full; the old target is untouched.
        UsageError: its folder cannot be written.
    """
    with disk_errors(target.parent):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        except (PermissionError, FileNotFoundError, NotADirectoryError, FileExistsError) as error:
            raise UsageError(f"{target} cannot be written", why=str(error), fix="name another place") from error
        try:
            yield draft
            for path in draft.rglob("*"):
                sync_directory(path) if path.is_dir() else sync_file(path)
            sync_directory(draft)
            replace_directory(draft, target)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


def open_to_others(folder: Path) -> None:
    """Give a folder and all in it the permissions that the umask leaves to new files; a draft is its owner's alone."""
    mask = os.umask(0o077)
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)


def replace_directory(draft: Path, target: Path) -> None:
    """Rename ``draft`` to ``target``.

    A directory cannot be renamed over a full one: the old one steps aside first, and comes back if the new one cannot
    take its place. A process killed between the two renames leaves the old one under its name beside.
    """
    aside: Path | None = None
    if target.exists():
        aside = target.with_name(f".{target.name}.old-{os.getpid()}")
        target.rename(aside)
    try:
        draft.rename(target)
    except OSError:
        if aside is not None:
            aside.rename(target)
        raise
    sync_directory(target.parent)
    if aside is not None:
        shutil.rmtree(aside, ignore_errors=True)


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
        if (error.errno if isinstance(error, OSError) else int(written[1]) if written else None) in _NO_ROOM:
            free = shutil.disk_usage(where).free
            why = f"writing under {where} failed with {free / 2**20:.0f} MiB free; nothing that was there is lost"
            fix = "free some space (`seedbed ls`, `seedbed rm NAME`) or set SEEDBED_HOME to a larger disk"
            raise CapacityError("the disk is full", why=why, fix=fix) from error
        raise
