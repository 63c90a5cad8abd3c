"""The library as a list: artifacts, and collections of documents, which change and so have no id."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from os import stat_result

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.core.units import iso_time

KINDS = ("corpus", "tokenizer", "tokens", "questions", "model", "adapter", "run", "evaluation")
"""What is stored as artifacts."""
COLLECTION = "collection"


@dataclass(frozen=True)
class InventoryEntry:
    """A line of the list; ``created`` is an ISO time (of a collection: when it last changed)."""

    kind: str
    id: str
    names: list[str]
    created: str
    bytes: int
    artifact: Artifact | None = None


def entries(library: Library, kind: str | None = None) -> list[InventoryEntry]:
    """Return what the library holds, newest first.

    Raises:
        UsageError: there is no such kind.
    """
    if kind not in (None, COLLECTION, *KINDS):
        raise unknown_kind(str(kind), (*KINDS, COLLECTION))
    found = [] if kind == COLLECTION else [_artifact(library, one) for one in library.all(kind)]
    collections = _collections(library) if kind in (None, COLLECTION) else []
    return sorted([*found, *collections], key=lambda entry: entry.created, reverse=True)


def unknown_kind(kind: str, known: Iterable[str]) -> UsageError:
    """Return the error for a kind that does not exist, with the nearest one."""
    near = difflib.get_close_matches(kind, list(known), n=1)
    fix = f"did you mean `{near[0]}`?" if near else "choose one of these"
    return UsageError(f"there is no kind {kind!r}", why=f"the kinds are {', '.join(known)}", fix=fix)


def _artifact(library: Library, found: Artifact) -> InventoryEntry:
    return InventoryEntry(found.kind, found.id, library.names_of(found), found.manifest.created, found.size, found)


def _collections(library: Library) -> list[InventoryEntry]:
    """Read without opening them, which would import what searches them."""
    folders = sorted(path.parent for path in library.root.glob("docs/*/collection.json"))
    return [_collection(folder.name, [one.stat() for one in folder.iterdir()]) for folder in folders]


def _collection(name: str, files: list[stat_result]) -> InventoryEntry:
    changed, size = max(one.st_mtime for one in files), sum(one.st_size for one in files)
    return InventoryEntry(COLLECTION, "", [name], iso_time(changed), size)
