"""API keys: 256 random bits each, kept only as SHA-256, in one file that only its owner may read.

A plain hash is right for a random key: there is nothing to guess that a slow hash would protect.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.core import files
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.core.locking import locked
from seedbed.core.references import check_name


class Keys:
    """The keys in a file, which may change at any time, and those that live only as long as this process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session: list[str] = []
        self._read: tuple[object, dict[str, bool]] | None = None  # the file's state, and what it held then

    def create(self, name: str, *, admin: bool = False) -> str:
        """Make a key and keep its hash. Returns the key, which cannot be had again. Raises UsageError for the name.

        An ``admin`` sees the metrics of all keys, and has no other right.
        """
        check_name(name)
        key, created = _new_key(), datetime.now(UTC).isoformat(timespec="seconds")
        with locked(self._path):
            entries = self.entries()
            if any(entry["name"] == name for entry in entries):
                raise UsageError(f"there is a key {name!r}", why="names are unique", fix="choose another, or remove it")
            self._write([*entries, {"name": name, "hash": _hash(key), "created": created, "admin": admin}])
        return key

    def remove(self, name: str) -> None:
        """Forget a key. Raises NotFoundError where there is none of that name."""
        with locked(self._path):
            entries = self.entries()
            if name not in (names := [entry["name"] for entry in entries]):
                why = f"there are {', '.join(names) or 'none'}"
                raise NotFoundError(f"there is no key {name!r}", why=why, fix="see `seedbed keys ls`")
            self._write([entry for entry in entries if entry["name"] != name])

    def for_session(self) -> str:
        """A key that is good until the process ends, and is written nowhere."""
        key = _new_key()
        self._session.append(_hash(key))
        return key

    def entries(self) -> list[dict[str, Any]]:
        """Name, hash, time and right of every stored key. Raises CorruptError where the file is damaged."""
        try:
            stored = files.read_json(self._path)["keys"]
            parts = ("name", "hash", "created")
            return [
                {part: str(entry[part]) for part in parts} | {"admin": bool(entry.get("admin"))} for entry in stored
            ]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            fix = "put back a copy of the file, or move it aside and make new keys"
            raise CorruptError(f"{self._path} cannot be read", why=repr(error), fix=fix) from error

    def owner(self, key: str) -> str | None:
        """Return the owner of a key: its hash, or None for an unknown key. Takes the same time for both."""
        wanted = _hash(key)
        return wanted if any([hmac.compare_digest(one, wanted) for one in self.owners()]) else None  # noqa: C419 (all)

    def is_admin(self, owner: str) -> bool:
        """Tell whether an owner may see what all keys do; that of a session's key is who runs the server."""
        return self.owners().get(owner, False)

    def owners(self) -> dict[str, bool]:
        """Return the owners of all keys, and whether each is an admin. Raises as :meth:`entries`.

        The file is read again when it has changed.
        """
        session = dict.fromkeys(self._session, True)
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return session
        state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if self._read is None or self._read[0] != state:
            self._read = state, {entry["hash"]: entry["admin"] for entry in self.entries()}
        return self._read[1] | session

    def _write(self, entries: list[dict[str, Any]]) -> None:
        files.write_json(self._path, {"keys": entries})  # through a temporary file, whose mode is 0600


def _new_key() -> str:
    return "sb-" + secrets.token_urlsafe(32)


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
