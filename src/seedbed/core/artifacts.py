"""The library: everything that outlives a command, addressed by its content and named by movable references.

``<root>/<kind>/<id>/manifest.json`` describes one artifact; the other files beside it are its content. The id is
the SHA-256 of the kind, the parents' ids and every file's digest, so one changed byte anywhere changes every
descendant's id, and the same work done twice is stored once. What may differ between two equal pieces of work (the
time, the machine, metrics) stays out of the id.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import platformdirs

from seedbed.core import files
from seedbed.core.errors import (
    CorruptError,
    NewerError,
    NotFoundError,
    SeedbedError,
    UsageError,
    did_you_mean,
)
from seedbed.core.leftovers import remove_directory
from seedbed.core.manifests import MANIFEST, Manifest, read_manifest, repair
from seedbed.core.progress import say
from seedbed.core.references import FULL_ID, References, check_name
from seedbed.core.version import __version__

_ID = re.compile(r"[0-9a-f]{6,64}")
VERIFIED = "verified.json"


@dataclass(frozen=True)
class Artifact:
    """One stored artifact."""

    path: Path
    manifest: Manifest

    @property
    def id(self) -> str:
        """The SHA-256 of its content, 64 hex digits."""
        return self.manifest.id

    @property
    def kind(self) -> str:
        """Corpus, tokenizer, tokens, run, model, evaluation …"""
        return self.manifest.kind

    @cached_property
    def size(self) -> int:
        """Bytes of content."""
        return sum(int(entry["bytes"]) for entry in self.manifest.files.values())

    def file(self, name: str) -> Path:
        """Return the path of one of its files. Raises NotFoundError: it has no such file."""
        if name not in self.manifest.files:
            why = f"it holds {', '.join(sorted(self.manifest.files)) or 'nothing'}"
            fix = "check the kind of the artifact with `seedbed show`"
            raise NotFoundError(f"{self.kind} {self.id[:12]} has no file {name!r}", why=why, fix=fix)
        return self.path / name

    def verify(self) -> None:
        """Compare every file with its digest in the manifest, and the manifest with the id.

        A file that the file system has not touched since it was last found right is not read again: large models open
        at once.

        Raises:
            CorruptError: a file is missing, truncated or changed, or the manifest was.
        """
        if _identity(self.kind, self.manifest.parents, self.manifest.files) != self.path.name:
            raise _corrupt(self, f"{self.path / MANIFEST} no longer fits the id")
        seen = self._seen()
        states = {name: self._verify_file(name, seen.get(name)) for name in self.manifest.files}
        if states != seen:
            with suppress(OSError, SeedbedError):  # a library may be read-only or its disk full
                files.write_json(self.path / VERIFIED, states)

    def _verify_file(self, name: str, seen: object) -> list[int]:
        """Check one file; returns what the file system says of it."""
        path, entry = self.path / name, self.manifest.files[name]
        if not path.is_file():
            raise _corrupt(self, f"{path} is missing")
        found = path.stat()
        if found.st_size != entry["bytes"]:
            raise _corrupt(self, f"{path} has {found.st_size} bytes, {entry['bytes']} were written")
        state = [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]
        if state != seen and files.sha256_file(path) != entry["sha256"]:
            raise _corrupt(self, f"{path} no longer has the hash {entry['sha256'][:12]}… it was stored with")
        return state

    def _seen(self) -> dict[str, Any]:
        """Return the states of files when they were last verified."""
        with suppress(OSError, ValueError):
            if isinstance(stored := files.read_json(self.path / VERIFIED), dict):
                return stored
        return {}


@dataclass
class Draft:
    """An artifact being written: fill ``path``; set ``metrics`` and ``licence``; ``artifact`` is there afterwards."""

    path: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    licence: str = ""
    artifact: Artifact | None = None

    @property
    def result(self) -> Artifact:
        """The stored artifact; only after the ``with`` block ended well."""
        if self.artifact is None:
            raise RuntimeError("the draft has not been stored yet")
        return self.artifact


class Library:
    """All artifacts under one folder: ``$SEEDBED_HOME``, else the platform's data folder."""

    def __init__(self, root: Path | None = None) -> None:
        chosen = root or os.environ.get("SEEDBED_HOME") or platformdirs.user_data_dir("seedbed", appauthor=False)
        self.root = Path(chosen).expanduser().absolute()
        self._references = References(self.root / "refs")

    @contextmanager
    def writing(
        self,
        kind: str,
        *,
        parents: Iterable[Artifact] = (),
        config: Mapping[str, Any] | None = None,
        name: str | None = None,
    ) -> Iterator[Draft]:
        """Store a new artifact: the block fills ``draft.path``, and all of it or nothing is kept.

        Args:
            kind: what it is; a folder of this name holds it.
            parents: the artifacts it was made from.
            config: the settings it was made with (a record; not part of the id).
            name: a reference to move to it.

        Raises:
            CapacityError: the disk is full; nothing was stored and no name was moved.
            UsageError: the name is another kind's; nothing was stored.
        """
        if name is not None:
            self._check_kind(name, kind)
        parent_ids = tuple(parent.id for parent in parents)
        home = self.root / kind
        with files.scratch_directory(home / "new") as path:
            draft = Draft(path)
            yield draft
            manifest = _describe(draft, kind, parent_ids, config or {})
            files.write_json(path / MANIFEST, vars(manifest))
            files.sync_tree(path)
            draft.artifact = self._adopt(path, home / manifest.id)
        if name is not None:
            self.name(name, draft.artifact)

    def _adopt(self, staging: Path, target: Path) -> Artifact:
        """Move a finished draft to its id; equal content that is already there, and whole, is kept."""
        if target.exists():
            try:
                kept = _read(target)
                kept.verify()
            except CorruptError:
                files.replace_directory(staging, target)
            else:
                return kept
        else:
            files.replace_directory(staging, target)
        return _read(target)

    def get(self, reference: str, kind: str | None = None) -> Artifact:
        """Find an artifact by name, id, or a beginning of its id (at least six digits).

        Raises:
            NotFoundError: there is none, or it is of another kind.
            UsageError: the beginning fits several.
        """
        return _read(self.find(reference, kind))

    def find(self, reference: str, kind: str | None = None) -> Path:
        """Return the folder of an artifact, which may be damaged; raises as :meth:`get`."""
        wanted = self.names().get(reference)
        start = wanted or reference
        found = [path for path in self._paths() if path.name.startswith(start)] if _ID.fullmatch(start) else []
        if len(found) > 1:
            why = ", ".join(f"{path.parent.name} {path.name[:16]}" for path in found[:4])
            raise UsageError(f"{reference!r} fits {len(found)} artifacts", why=why, fix="give more digits of the id")
        if not found:
            raise self._unknown(reference, kind)
        if kind not in (None, found[0].parent.name):
            why = f"it is a {found[0].parent.name}"
            raise NotFoundError(f"{reference!r} is not a {kind}", why=why, fix=f"name a {kind} (`seedbed ls`)")
        return found[0]

    def _unknown(self, reference: str, kind: str | None) -> NotFoundError:
        kinds = {path.name: path.parent.name for path in self._paths()}
        known = [name for name, target in self.names().items() if kind in (None, kinds.get(target))]
        why = f"{self.root} holds {', '.join(sorted(known)[:8]) or 'no named ones'}"
        if reference in self.bad_names():
            why = f"the name points to no artifact: {self.bad_names()[reference]}"
            return NotFoundError(
                f"nothing is called {reference!r}", why=why, fix=f"`seedbed rm {reference}` removes it"
            )
        fix = did_you_mean(reference, known, "list them with `seedbed ls`, or check SEEDBED_HOME")
        return NotFoundError(f"no {kind or 'artifact'} called {reference!r}", why=why, fix=fix)

    def all(self, kind: str | None = None) -> list[Artifact]:
        """Return all artifacts that can be read, newest first; :meth:`unreadable` has the others."""
        return self._sorted(kind)[0]

    def unreadable(self, kind: str | None = None) -> dict[Path, SeedbedError]:
        """Return the folders of the artifacts that cannot be read, each with its error."""
        return self._sorted(kind)[1]

    def _sorted(self, kind: str | None) -> tuple[list[Artifact], dict[Path, SeedbedError]]:
        good: list[Artifact] = []
        bad: dict[Path, SeedbedError] = {}
        for path in self._paths():
            if kind in (None, path.parent.name):
                try:
                    good.append(_read(path))
                except (CorruptError, NewerError) as error:
                    bad[path] = error
        return sorted(good, key=lambda artifact: artifact.manifest.created, reverse=True), bad

    def name(self, name: str, artifact: Artifact) -> None:
        """Move the reference ``name`` to ``artifact``, and say so.

        Raises UsageError: it is another kind's. NotFoundError: the artifact was removed meanwhile.
        """
        with self._references.locked():
            self._check_kind(name, artifact.kind)
            if not artifact.path.is_dir():
                why = f"{artifact.kind} {artifact.id[:12]} was removed meanwhile"
                raise NotFoundError(f"{name} cannot point to it", why=why, fix="run the command that made it again")
            before = self.names().get(name)
            if before not in (None, artifact.id) and any(path.name == before for path in self._paths()):
                say(f"{name} was {artifact.kind} {str(before)[:12]} until now, which is kept under its id")
            self._references.write(name, artifact.id)

    def _check_kind(self, name: str, kind: str) -> None:
        """Raise UsageError where a name points to an artifact of another kind, which would be lost to it."""
        target = self.names().get(check_name(name))
        there = next((path for path in self._paths() if path.name == target), None)
        if there is not None and there.parent.name != kind:
            why = f"a {there.parent.name} of the library is called so"
            raise UsageError(f"the {kind} cannot be called {name!r}", why=why, fix="choose another name with --name")

    def unname(self, name: str) -> None:
        """Remove a reference; what it pointed to stays."""
        with self._references.locked():
            self._references.remove(check_name(name))

    def names(self) -> dict[str, str]:
        """Return every name and the id it points to; :meth:`bad_names` has those that point to none."""
        return self._references.all()

    def bad_names(self) -> dict[str, str]:
        """Return the names that point to no artifact of the library, each with the reason."""
        return self._references.bad({path.name for path in self._paths()})

    def names_of(self, artifact: Artifact) -> list[str]:
        """Return the names that point to an artifact."""
        return [name for name, target in self.names().items() if target == artifact.id]

    def parents(self, artifact: Artifact) -> list[Artifact]:
        """Return the artifacts it was made from."""
        return [self.get(parent) for parent in artifact.manifest.parents]

    def children(self, artifact: Artifact) -> list[Artifact]:
        """Return the artifacts that were made from it."""
        return [other for other in self.all() if artifact.id in other.manifest.parents]

    def check_unneeded(self, artifact: Artifact, reference: str) -> None:
        """Raise UsageError where something else was made from an artifact."""
        if children := self.children(artifact):
            why = ", ".join(f"{child.kind} {child.id[:12]}" for child in children[:4]) + " was made from it"
            fix = "remove those first, or leave a gap in their families with --force"
            raise UsageError(f"{artifact.kind} {reference} is still needed", why=why, fix=fix)

    def remove(self, reference: str, kind: str | None = None, *, force: bool = False) -> Artifact:
        """Delete an artifact and the names that point to it.

        Args:
            force: also when something else was made from it, whose family then has a gap.
        """
        artifact = self.get(reference, kind)
        if not force:
            self.check_unneeded(artifact, reference)
        self.discard(artifact.path)
        return artifact

    def discard(self, path: Path) -> list[str]:
        """Delete an artifact's folder, which may be damaged, and the names that point to it. Returns those.

        A process that is killed leaves names that point to nothing, and no artifact in part.
        """
        with self._references.locked():
            names = [name for name, target in self.names().items() if target == path.name]
            remove_directory(path)
            for name in names:
                self._references.remove(name)
            return names

    def _paths(self) -> Iterator[Path]:
        if self.root.is_dir():
            for path in self.root.glob("*/*"):
                if FULL_ID.fullmatch(path.name) and path.is_dir():
                    yield path


def _describe(draft: Draft, kind: str, parents: tuple[str, ...], config: Mapping[str, Any]) -> Manifest:
    content = {
        path.relative_to(draft.path).as_posix(): {"sha256": files.sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(draft.path.rglob("*"))
        if path.is_file()
    }
    identity, created = _identity(kind, parents, content), datetime.now(UTC).isoformat(timespec="milliseconds")
    return Manifest(kind, identity, created, parents, dict(config), draft.metrics, draft.licence, __version__, content)


def _identity(kind: str, parents: tuple[str, ...], content: Mapping[str, Mapping[str, Any]]) -> str:
    digests = {name: entry["sha256"] for name, entry in content.items()}
    return files.sha256_text(files.canonical_json({"kind": kind, "parents": parents, "files": digests}))


def _read(path: Path) -> Artifact:
    return Artifact(path, read_manifest(path))


def _corrupt(artifact: Artifact, why: str) -> CorruptError:
    return CorruptError(f"{artifact.kind} {artifact.id[:12]} is damaged", why=why, fix=repair(artifact.path))
