"""The library as a list of artifacts and collections, and the facts of a stored artifact: parameters, files, family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, NotFoundError, SeedbedError, UsageError, did_you_mean
from seedbed.core.files import read_json
from seedbed.core.lineage import Relative
from seedbed.core.units import iso_time

KINDS = ("corpus", "tokenizer", "tokens", "questions", "model", "adapter", "run", "evaluation")
"""The kinds of artifacts."""
COLLECTION = "collection"
"""Documents, which change and so have no id."""


@dataclass(frozen=True)
class InventoryEntry:
    """A line of the list; ``created`` is an ISO time (of a collection: when it last changed).

    ``problem`` says why one cannot be read; its names and its bytes are known all the same.
    """

    kind: str
    id: str | None
    names: list[str]
    created: str
    bytes: int
    artifact: Artifact | None = None
    problem: str = ""


def entries(library: Library, kind: str | None = None) -> list[InventoryEntry]:
    """Return what the library holds, newest first. Raises UsageError where there is no such kind."""
    if kind not in (None, COLLECTION, *KINDS):
        raise unknown_kind(str(kind), (*KINDS, COLLECTION))
    found = [
        InventoryEntry(one.kind, one.id, library.names_of(one), one.manifest.created, one.size, one)
        for one in ([] if kind == COLLECTION else library.all(kind))
    ]
    collections = _collections(library) if kind in (None, COLLECTION) else []
    bad = [] if kind == COLLECTION else [_damaged(library, *one) for one in library.unreadable(kind).items()]
    return sorted([*found, *collections, *bad], key=lambda entry: entry.created, reverse=True)


def _damaged(library: Library, path: Path, error: SeedbedError) -> InventoryEntry:
    files = [one.stat(follow_symlinks=False) for one in path.rglob("*")]
    names = [name for name, target in library.names().items() if target == path.name]
    changed = iso_time(max([path.stat().st_mtime, *(one.st_mtime for one in files)]))
    size = sum(one.st_size for one in files)
    return InventoryEntry(path.parent.name, path.name, names, changed, size, problem=f"{error.what}: {error.why}")


def unknown_kind(kind: str, known: Iterable[str]) -> UsageError:
    """Return the error for a kind that does not exist, with the nearest one."""
    fix = did_you_mean(kind, known, "choose one of these")
    return UsageError(f"there is no kind {kind!r}", why=f"the kinds are {', '.join(known)}", fix=fix)


def _collections(library: Library) -> list[InventoryEntry]:
    """Read without opening them, which would import what searches them."""
    found = []
    both = ("collection.json", "store.sqlite")
    for folder in sorted({path.parent for name in both for path in library.root.glob(f"docs/[!.]*/{name}")}):
        there = {one.name: one.stat(follow_symlinks=False) for one in folder.iterdir()}
        changed, size = max(one.st_mtime for one in there.values()), sum(one.st_size for one in there.values())
        problem = "".join(f"the collection {folder.name} has no {name}" for name in both if name not in there)
        found.append(InventoryEntry(COLLECTION, None, [folder.name], iso_time(changed), size, problem=problem))
    return found


def check_no_collection(library: Library, artifact: Artifact, names: Sequence[str]) -> None:
    """Raise UsageError where a collection's vectors are made by a model that is about to lose these names.

    ``names``: all of its names, where the model itself goes too.
    """
    gone = [*names, *([artifact.id] if set(library.names_of(artifact)) <= set(names) else [])]
    using = [path.parent.name for path in sorted(library.root.glob("docs/*/collection.json")) if _embeds(path, gone)]
    if using:
        fix = f"give them another embedder first (`seedbed docs embed {using[0]} --embedder tfidf`), or use --force"
        why = f"it makes the vectors of {', '.join(using[:8])}, which could then be searched by words alone"
        raise UsageError(f"model {gone[0]} is still needed", why=why, fix=fix)


def _embeds(settings: Path, gone: Sequence[str]) -> bool:
    """Tell whether the settings of a collection name one of these names, or begin one of these ids."""
    try:
        embedder = str(read_json(settings)["embedder"])
    except (OSError, ValueError, TypeError, KeyError):
        return False  # a damaged collection needs nothing
    return any(embedder == one or (len(embedder) >= 6 and one.startswith(embedder) and len(one) == 64) for one in gone)


def model_facts(artifact: Artifact) -> dict[str, Any]:
    """Return a model's parameters by kind, tied tensors, quantization and origin; nothing for other kinds.

    Raises:
        CorruptError: its configuration cannot be read.
    """
    if artifact.kind != "model":
        return {}
    from seedbed.models.parameter_counts import count_parameters
    from seedbed.models.store import CONFIG, read_config, read_description

    try:
        described = read_description(artifact)
        parts = count_parameters(read_config(described["model"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(CONFIG, artifact, error) from error
    return {
        "parameters": {kind: count for kind, count in parts.parameters.items() if count} | {"total": parts.total},
        "shared": parts.tied,
        **_sharing(artifact),
        "quantization": described.get("quantization"),
        **_stated(described),
        "source": artifact.manifest.config.get("source"),
    }


def _stated(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sampling that a model's publishers state, and what of it cannot be used; nothing where they do not."""
    from seedbed.inference.published_sampling import published_sampling
    from seedbed.models.store import read_config, vocabulary

    found = published_sampling(described.get("published", {}), vocabulary(read_config(described["model"])))
    stated = {**found.values, **({"eos_token_id": list(found.ends)} if found.ends else {})}
    return {"sampling": stated, "sampling_left_out": list(found.remarks)}


def _sharing(artifact: Artifact) -> dict[str, Any]:
    """Return bytes that tied tensors save, and tensors stored twice; nothing where the weights cannot be read."""
    from seedbed.formats.weight_sharing import stored_sharing

    try:
        found = stored_sharing(artifact)
    except (CorruptError, NotFoundError):
        return {}
    return {"saved_bytes": found.saved, "equal": [list(group) for group in found.equal], "spare_bytes": found.spare}


def raw_files(artifact: Artifact) -> Sequence[Mapping[str, Any]]:
    """Return the files that a corpus was read from, none for other kinds. Raises CorruptError: the list is damaged."""
    if artifact.kind != "corpus":
        return ()
    from seedbed.corpus.store import Corpus

    try:
        return list(Corpus(artifact).raw_files())
    except (OSError, ValueError) as error:
        raise _unreadable("the list of raw files", artifact, error) from error


def _unreadable(part: str, artifact: Artifact, error: Exception) -> CorruptError:
    fix = f"see what is damaged with `seedbed show {artifact.id[:12]} --verify`"
    return CorruptError(f"{part} of {artifact.kind} {artifact.id[:12]} cannot be read", why=str(error), fix=fix)


def family_json(relative: Relative) -> dict[str, Any]:
    """Return a family tree as JSON values."""
    artifact = relative.artifact
    return {
        "id": relative.id,
        "kind": None if artifact is None else artifact.kind,
        "names": list(relative.names),
        "raw_files": [] if artifact is None or relative.repeated else list(raw_files(artifact)),
        "parents": [family_json(parent) for parent in relative.parents],
    }
