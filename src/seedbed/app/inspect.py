"""Facts of a stored artifact: a model's parameters and weights, the files a corpus was read from, its family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from seedbed.core.artifacts import Artifact
from seedbed.core.errors import CorruptError, NotFoundError
from seedbed.core.lineage import Relative


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
        "source": artifact.manifest.config.get("source"),
    }


def raw_files(artifact: Artifact) -> Sequence[Mapping[str, Any]]:
    """Return the files that a corpus was read from; none for other kinds.

    Raises:
        CorruptError: their list cannot be read.
    """
    if artifact.kind != "corpus":
        return ()
    from seedbed.corpus.store import Corpus

    try:
        return list(Corpus(artifact).raw_files())
    except (OSError, ValueError) as error:
        raise _unreadable("the list of raw files", artifact, error) from error


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


def _sharing(artifact: Artifact) -> dict[str, Any]:
    """Return bytes that tied tensors save, and tensors stored twice; nothing where the weights cannot be read."""
    from seedbed.formats.weight_sharing import stored_sharing

    try:
        found = stored_sharing(artifact)
    except (CorruptError, NotFoundError):
        return {}
    return {"saved_bytes": found.saved, "equal": [list(group) for group in found.equal], "spare_bytes": found.spare}


def _unreadable(part: str, artifact: Artifact, error: Exception) -> CorruptError:
    name = f"{artifact.kind} {artifact.id[:12]}"
    fix = f"see what is damaged with `seedbed show {artifact.id[:12]} --verify`"
    return CorruptError(f"{part} of {name} cannot be read", why=str(error), fix=fix)
