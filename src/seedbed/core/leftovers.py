"""Work in the making, and its clearing after a process that was killed.

A draft has a name of this file's own beside its place and is locked by the process that fills it. The system frees
the lock when that process ends, however it ends, so that a draft that can be locked is nobody's: no process number is
compared and no clock is asked, and work of another container on the same disk is safe. Where the file system knows no
such locks, nothing is cleared.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_DRAFT, _ASIDE, _REMOVED = ".draft", ".aside", ".removed"
_OURS = re.compile(rf"\.(.+)\.[a-z0-9_]{{8}}(?:{_DRAFT}|{_ASIDE}|{_REMOVED})", re.DOTALL)


@contextmanager
def draft_directory(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target``, its owner's alone; gone after the block, unless it was renamed.

    Drafts that killed processes left in that place are cleared first.
    """
    clear(target.parent)
    draft, held = _held_directory(target)
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        _release(held)


@contextmanager
def draft_file(target: Path) -> Iterator[tuple[int, Path]]:
    """Yield an open descriptor of a new file beside ``target``, and its path; as :func:`draft_directory`."""
    clear(target.parent)
    while True:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=_DRAFT, dir=target.parent)
        draft = Path(name)
        if _lock(descriptor, wait=True) and not _is_at(descriptor, draft):
            os.close(descriptor)  # somebody cleared it before it was locked
            continue
        break
    try:
        yield descriptor, draft
    finally:
        draft.unlink(missing_ok=True)
        _release(descriptor)


@contextmanager
def moved_aside(target: Path) -> Iterator[None]:
    """Move a folder aside for the block, which puts another in its place; where it fails, the old one comes back."""
    held, aside = _hold(target, wait=False), _beside(target, _ASIDE)
    target.rename(aside)
    try:
        yield
    except BaseException:
        aside.rename(target)
        raise
    else:
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        _release(held)


def remove_directory(target: Path) -> None:
    """Remove a folder: it is gone at once under its name, and wholly when this returns."""
    grave = _beside(target, _REMOVED)
    target.rename(grave)
    shutil.rmtree(grave)


def is_draft(path: Path) -> bool:
    """Tell whether a path is a draft that is there: what is made in its place needs none of its own."""
    return path.name.endswith(_DRAFT) and _OURS.fullmatch(path.name) is not None and path.is_dir()


def left_in(folder: Path) -> list[Path]:
    """Return the drafts in a folder, those of living processes too."""
    try:
        return sorted(path for path in folder.iterdir() if _OURS.fullmatch(path.name))
    except OSError:
        return []


def clear(folder: Path) -> list[Path]:
    """Remove what killed processes left in a folder, and put back what one had moved aside. Returns what was cleared.

    What a living process holds stays, and so does all where the folder cannot be written.
    """
    return [path for path in left_in(folder) if _clear(path)]


def _clear(path: Path) -> bool:
    held = _hold(path, wait=False)
    if held is None:
        return False
    try:
        named = _OURS.fullmatch(path.name)
        home = path.with_name(named[1]) if named else path
        if path.name.endswith(_ASIDE) and not home.exists():
            path.rename(home)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    except OSError:  # a place that may not be written
        return False
    finally:
        _release(held)
    return not path.exists()


def _held_directory(target: Path) -> tuple[Path, int | None]:
    while True:
        draft = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", suffix=_DRAFT, dir=target.parent))
        held = _hold(draft, wait=True)
        if held is not None or draft.exists():  # else somebody cleared it before it was locked
            return draft, held


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{os.urandom(4).hex()}{ending}")


def _hold(path: Path, *, wait: bool) -> int | None:
    """Return a descriptor that holds a file or folder; None where another process does, or it is gone."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return None
    if _lock(descriptor, wait=wait) and _is_at(descriptor, path):
        return descriptor
    os.close(descriptor)
    return None


def _lock(descriptor: int, *, wait: bool) -> bool:
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether a path still names an open file."""
    with suppress(OSError):
        return os.path.samestat(os.fstat(descriptor), path.stat(follow_symlinks=False))
    return False


def _release(descriptor: int | None) -> None:
    if descriptor is not None:
        with suppress(OSError):  # the block may have closed it
            os.close(descriptor)
