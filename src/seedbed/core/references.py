"""The names of artifacts: a folder with one small file a name, which holds the id that it points to."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from seedbed.core import files
from seedbed.core.errors import UsageError
from seedbed.core.locking import locked
from seedbed.core.progress import say

FULL_ID = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LONGEST = 200  # bytes of a reference that are read


class References:
    """The names in a folder. Reading takes no lock: a reference is replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def locked(self) -> AbstractContextManager[None]:
        """Return the lock under which names change, and artifacts that have names go."""
        return locked(self.folder)

    def all(self) -> dict[str, str]:
        """Return every name that holds an id, with it."""
        return {path.name: target for path in self._files() if (target := _read(path)[0])}

    def bad(self, held: Collection[str]) -> dict[str, str]:
        """Return the names that do not point to one of the ids held, each with the reason."""
        found = {path.name: _read(path) for path in self._files()}
        return {
            name: why or f"{target[:12]} is not there" for name, (target, why) in found.items() if target not in held
        }

    def write(self, name: str, target: str) -> None:
        """Point a name to an id."""
        self._make_room(name)
        files.write_text(self.folder / name, target + "\n")

    def remove(self, name: str) -> None:
        """Remove a name, if it is there."""
        self._make_room(name)
        (self.folder / name).unlink(missing_ok=True)

    def _make_room(self, name: str) -> None:
        """Move a folder out of a name's place, with all that is in it."""
        path = self.folder / name
        if path.is_dir() and not path.is_symlink():
            aside = path.with_name(f".{name}.{os.urandom(4).hex()}")
            path.rename(aside)
            say(f"{path} was a folder, not a name: it is kept as {aside}")

    def _files(self) -> list[Path]:
        with suppress(OSError):
            return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))
        return []


def _read(path: Path) -> tuple[str, str]:
    """Return the id that a reference holds, and why it holds none."""
    try:
        if path.is_symlink():
            return "", f"{path} is a link"
        with files.open_regular(path) as file:
            target = file.read(_LONGEST).decode("ascii").strip()
    except (OSError, ValueError) as error:
        return "", f"{path}: {error}"
    return (target, "") if FULL_ID.fullmatch(target) else ("", f"{path} holds no id")


def check_name(name: str) -> str:
    """Return a name that is safe as a file name. Raises UsageError: it holds other characters, or looks like an id."""
    if not _NAME.fullmatch(name) or len(name) > 100 or (FULL_ID.fullmatch(name)):
        why = "a name has letters, digits, '.', '_' and '-', and starts with a letter or digit"
        raise UsageError(f"{name!r} cannot be a name", why=why, fix="choose a name such as 'my-notes'")
    return name
