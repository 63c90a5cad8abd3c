"""Safetensors weights of a model: one file, or shards with an index, whose names come from outside and are checked.

Pickle files are refused, since opening one runs whatever program it holds.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.formats.safetensors.file import SafetensorsFile, open_file
from seedbed.formats.safetensors.writing import INDEX, WEIGHTS
from seedbed.formats.safetensors.writing import write_safetensors as write_safetensors
from seedbed.models.checkpoint import Checkpoint, CombinedCheckpoint

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_INDEX_LIMIT = 100_000_000  # bytes of an index: what the format allows a header


def open_safetensors(path: Path) -> Checkpoint:
    """Open a file, or a folder with ``model.safetensors`` or with shards and their index. Reads headers only.

    Raises:
        NotFoundError: there is no such file, or none in the folder.
        UsageError: it is a pickle file, or the folder has only those.
        CorruptError: a header or the index is wrong, or a file ends early.
    """
    if path.suffix in PICKLES:
        _refuse_pickle(path)
    if not path.is_dir():
        return open_file(path)
    if (path / WEIGHTS).exists():
        return open_file(_member(path, WEIGHTS))
    if (path / INDEX).exists():
        return _open_index(path)
    pickles = sorted(file for file in path.iterdir() if file.suffix in PICKLES)
    if pickles:
        _refuse_pickle(pickles[0])
    raise NotFoundError(
        f"there are no weights in {path}",
        why=f"it has neither {WEIGHTS} nor {INDEX}",
        fix="name the folder of a published model, or the .safetensors file itself",
    )


def _open_index(folder: Path) -> CombinedCheckpoint:
    places = _read_index(folder / INDEX)
    shards = {file: _open_shard(folder, file) for file in dict.fromkeys(places.values())}
    held = {file: frozenset(shard.names()) for file, shard in shards.items()}
    for name, file in places.items():
        if name not in held[file]:
            raise CorruptError(
                f"{folder / file} has no tensor {name!r}",
                why=f"{INDEX} says that it is there",
                fix="fetch or copy both files again",
            )
    return CombinedCheckpoint(str(folder), {name: shards[file] for name, file in places.items()})


def _read_index(path: Path) -> dict[str, str]:
    """Read the index: the file of each tensor."""
    try:
        with path.open("rb") as file:
            text = file.read(_INDEX_LIMIT + 1)
        if len(text) > _INDEX_LIMIT:
            raise ValueError(f"it is larger than {_INDEX_LIMIT} bytes")
        places = json.loads(text.decode("utf-8"))["weight_map"]
        if not isinstance(places, dict) or not all(isinstance(place, str) for place in places.values()):
            raise ValueError("weight_map does not give a file for each tensor")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = "it has no weight_map" if isinstance(error, (KeyError, TypeError)) else str(error)
        raise CorruptError(f"{path} is no index of shards", why=why, fix="fetch or copy it again") from error
    return places


def _open_shard(folder: Path, name: str) -> SafetensorsFile:
    path = _member(folder, name)
    if not path.is_file():
        raise CorruptError(
            f"shard {name} is missing from {folder}",
            why=f"{INDEX} puts tensors into it",
            fix="fetch or copy it again; `seedbed pull` goes on where a download ended",
        )
    return open_file(path)


def _member(folder: Path, name: str) -> Path:
    """Return a file of the folder by a name that came from outside; refuse one that lies elsewhere.

    The hub's cache keeps a revision's files as links to ``blobs`` beside ``snapshots``; those links are followed.
    """
    plain = name == Path(name).name and "\\" not in name and "\0" not in name
    if plain and name.endswith(".safetensors"):
        real, home = (folder / name).resolve(), folder.resolve()
        if real.parent == home or (home.parent.name == "snapshots" and real.parent == home.parent.parent / "blobs"):
            return folder / name
    raise CorruptError(
        f"{name!r} is not a weights file of {folder}",
        why="it is not a .safetensors file that lies in this folder itself",
        fix="take the model from a source you trust, with all its files in one folder",
    )


def _refuse_pickle(path: Path) -> NoReturn:
    raise UsageError(
        f"{path} is not opened",
        why="it is a pickle file, and opening one runs whatever program it holds",
        fix="take the model's .safetensors files (on a hub also in its refs/pr branches); or, if you trust it, "
        "convert it with transformers: save_pretrained(folder, safe_serialization=True)",
    )
