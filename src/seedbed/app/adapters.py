"""Adapters of others, PEFT folders, into the library: by our names, as a child of the model they were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError
from seedbed.core.progress import say
from seedbed.formats.peft_format import CONFIG, read_adapter, write_additions
from seedbed.nn.lora import Adapter, LowRank
from seedbed.transform.adapters import family_of, to_ours
from seedbed.transform.derived import open_stored


def is_adapter(path: Path) -> bool:
    """Return whether a folder holds an adapter and no model."""
    return (path / CONFIG).is_file() and not (path / "config.json").is_file()


def import_adapter(library: Library, path: Path, name: str, licence: str = "") -> Artifact:
    """Store a PEFT folder's adapter under a name; `seedbed serve --adapter` and `seedbed merge` take it.

    Raises:
        NotFoundError: the model that it names as its base is not in the library.
        UsageError: it is no addition to linear layers of that model. CorruptError: it cannot be read.
    """
    settings = files.read_json_object(path / CONFIG, fix="get the adapter again")
    base = find_base(library, settings, path)
    stored = open_stored(base)
    ours = to_ours(Adapter(read_adapter(path), {}), stored.config, family_of(stored))
    # the scale goes into one factor: patterns of theirs name other layers
    parts = {
        layer: LowRank(part.down, part.up * (part.scale * part.down.shape[0]), 1 / part.down.shape[0])
        for layer, part in ours.additions.items()
    }
    rank = max(part.down.shape[0] for part in parts.values())
    with library.writing(
        "adapter", parents=[base], config={"source": {"path": str(path.absolute())}}, name=name
    ) as draft:
        draft.licence = licence
        write_additions(draft.path, parts, rank, 1.0)
    stated, names = _last_part(settings), library.names_of(base) or [base.id[:12]]
    called = stated if stated in names else names[0]
    say(f"serve it with `seedbed serve {called} --adapter {name}-served={name}`, or put it into the weights:")
    say(f"`seedbed merge {called} --adapter {path} --name {name}-merged`")
    return draft.result


def find_base(library: Library, settings: Mapping[str, Any], path: Path) -> Artifact:
    """Return the library's model that an adapter's settings name as its base.

    By the repository or folder it came from, or by a name like the last part of it. Raises NotFoundError.
    """
    stated = str(settings.get("base_model_name_or_path") or "")
    last = _last_part(settings)
    for artifact in library.all():
        source = artifact.manifest.config.get("source") if artifact.kind == "model" else None
        known = [str(one) for one in source.values()] if isinstance(source, dict) else []
        if stated and any(one in (stated, f"hf:{stated}", str(Path(stated).absolute())) for one in known):
            return artifact
    try:
        return library.get(last or "-", "model")
    except NotFoundError as error:
        raise NotFoundError(
            f"{path} is an adapter, and its model is not in the library",
            why=f"it was trained on {stated or 'a model that it does not name'}",
            fix=f"bring that in first as {last or 'BASE'} (`seedbed pull` or `seedbed import`), and import the adapter "
            f"again; or merge it into a model: `seedbed merge MODEL --adapter {path}`",
        ) from error


def _last_part(settings: Mapping[str, Any]) -> str:
    return str(settings.get("base_model_name_or_path") or "").rstrip("/").rpartition("/")[2]
