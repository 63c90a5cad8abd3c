"""A repository of the hub: its address, and its files at a commit, each with its hash."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from packaging.utils import canonicalize_name

from seedbed.core.errors import DataError, NotFoundError, UsageError

RepoKind = Literal["model", "dataset", "package"]
_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}"
_REPO = re.compile(rf"{_PART}(/{_PART})?")


@dataclass(frozen=True)
class Address:
    """The address of a repository: ``owner/name`` of a model or a data set on the hub, or a package's name.

    Attributes:
        version: of a package; "" for the newest.
    """

    repo: str
    kind: RepoKind = "model"
    version: str = ""

    def __str__(self) -> str:
        """Return the address as it is written on the command line, without a version."""
        return f"pypi:{self.repo}" if self.kind == "package" else f"hf:{self.page}"

    @property
    def short(self) -> str:
        """The last part, the default name of a copy."""
        return self.repo.rpartition("/")[2]

    @property
    def page(self) -> str:
        """Its path on the hub's site."""
        return {"model": "", "dataset": "datasets/", "package": "packages/"}[self.kind] + self.repo


@dataclass(frozen=True)
class RemoteFile:
    """A file of a repository: path, bytes, and the SHA-256 of its content or the SHA-1 of its git blob."""

    path: str
    bytes: int
    sha256: str = ""
    blob: str = ""

    @property
    def record(self) -> dict[str, Any]:
        """Size and hash for a manifest."""
        return {"bytes": self.bytes, **({"sha256": self.sha256} if self.sha256 else {"git-sha1": self.blob})}


@dataclass(frozen=True)
class Listing:
    """The files of a repository at a commit."""

    address: Address
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]
    licence: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)

    def file(self, path: str) -> RemoteFile:
        """Return a file by its path.

        Raises:
            NotFoundError: there is none.
        """
        found = next((file for file in self.files if file.path == path), None)
        if found is None:
            raise NotFoundError(
                f"{self.address} has no file {path}",
                why=f"it holds {', '.join(file.path for file in self.files[:8])}",
                fix="check the name, or give another --revision",
            )
        return found


def read_address(text: str) -> Address:
    """Parse an address: ``owner/name``, ``hf:owner/name``, ``hf:datasets/owner/name``, ``pypi:name``, or a page's.

    Raises:
        UsageError: it is none of these.
    """
    if text.startswith("pypi:"):
        return _package(text)
    rest = re.sub(r"^(hf:(//)?|https://(huggingface\.co|hf\.co)/)", "", text.strip()).strip("/")
    kind: RepoKind = "dataset" if rest.startswith("datasets/") else "model"
    repo = rest.removeprefix("datasets/").removeprefix("models/")
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise UsageError(
            f"{text!r} is no repository",
            why="one is written as OWNER/NAME, of letters, digits, '.', '_' and '-'",
            fix="write for instance `hf:OWNER/NAME`, `hf:datasets/OWNER/NAME` or `pypi:NAME`",
        )
    return Address(repo, kind)


def _package(text: str) -> Address:
    """Parse ``pypi:NAME`` or ``pypi:NAME==VERSION`` (PEP 508's names)."""
    name, _, version = text.removeprefix("pypi:").partition("==")
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?", name):
        raise UsageError(
            f"{text!r} names no package", why=f"{name!r} cannot be one", fix="write pypi:NAME or pypi:NAME==VERSION"
        )
    return Address(canonicalize_name(name), "package", version)


def check_path(path: str, where: str) -> str:
    """Return a relative path that stays inside its folder.

    Raises:
        DataError: it does not.
    """
    parts = path.split("/")
    if (
        not path
        or any(part in ("", ".", "..") or part.lower() == ".git" for part in parts)
        or re.search(r'[\\:\x00-\x1f*?"<>|]', path)
        or len(path) > 500
    ):
        raise DataError(
            f"{where} names a file {path!r}",
            why="such a name could be written outside of its folder",
            fix="do not use this repository, and tell its owner or the hub",
        )
    return path
