"""Models that other programs keep on this disk: Hugging Face's cache, LM Studio's folder, ollama's store.

They are found by the files alone and read where they lie; none of these programs need run or be installed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.files import read_text
from seedbed.hub.model_files import INDEX, WHOLE

Program = Literal["hf", "lmstudio", "ollama"]
_OLLAMA_MODEL = "application/vnd.ollama.image.model"


@dataclass(frozen=True)
class FoundModel:
    """A model of another program: its name there, and the folder or GGUF file to import."""

    program: Program
    name: str
    path: Path
    bytes: int

    @property
    def short(self) -> str:
        """Return a name for the library."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.name.rpartition("/")[2].removesuffix(".gguf")).strip("-._")


def local_models(program: Program | None = None) -> list[FoundModel]:
    """Return the models that programs keep on this disk, by program and name; only those that can be read."""
    places = _PLACES if program is None else {program: _PLACES[program]}
    return [one for find in places.values() for one in sorted(find(), key=lambda model: model.name)]


def find_local(program: Program, name: str) -> FoundModel:
    """Return a program's model by its whole name, or by any part that only one has.

    Raises:
        NotFoundError: there is none. UsageError: several have the part.
    """
    held = local_models(program)
    found = [one for one in held if one.name == name] or [one for one in held if name.lower() in one.name.lower()]
    known = ", ".join(one.name for one in (found or held)[:12]) or "none"
    if not found:
        raise NotFoundError(f"{program} has no model {name!r}", why=f"its models are {known}", fix="name one of them")
    if len(found) > 1:
        raise UsageError(f"{program} has {len(found)} models {name!r}", why=known, fix="name one in full")
    return found[0]


def _hugging_face() -> Iterator[FoundModel]:
    """Yield models of ``HF_HUB_CACHE``: the newest snapshot of each repository that holds weights."""
    from huggingface_hub import constants

    for repository in sorted(Path(constants.HF_HUB_CACHE).glob("models--*")):
        name = repository.name.removeprefix("models--").replace("--", "/")
        for snapshot in sorted(repository.glob("snapshots/*"), key=lambda path: -path.stat().st_mtime)[:1]:
            if (snapshot / "config.json").exists() and ((snapshot / WHOLE).exists() or (snapshot / INDEX).exists()):
                size = sum(file.stat().st_size for file in snapshot.glob("*.safetensors") if file.is_file())
                yield FoundModel("hf", name, snapshot, size)
            else:
                yield from _ggufs("hf", snapshot, name)


def _lm_studio() -> Iterator[FoundModel]:
    """Yield GGUF files of LM Studio's folders, ``OWNER/REPOSITORY/FILE.gguf``."""
    for root in (Path.home() / ".lmstudio/models", Path.home() / ".cache/lm-studio/models"):
        for folder in sorted({file.parent for file in root.glob("*/*/*.gguf")}):
            yield from _ggufs("lmstudio", folder, folder.relative_to(root).as_posix())


def _ollama() -> Iterator[FoundModel]:
    """Yield models of ollama's store: a manifest names the blob of the weights, a GGUF file."""
    root = Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama/models")
    for manifest in sorted(root.glob("manifests/*/*/*/*")):
        host, owner, model, tag = manifest.relative_to(root / "manifests").parts
        try:
            layers = json.loads(read_text(manifest))["layers"]
            digest = next(str(one["digest"]) for one in layers if one["mediaType"] == _OLLAMA_MODEL)
        except (OSError, ValueError, KeyError, TypeError, StopIteration):
            continue
        blob = root / "blobs" / digest.replace(":", "-").replace("/", "-")
        if blob.is_file():
            owner = "" if (host, owner) == ("registry.ollama.ai", "library") else f"{owner}/"
            yield FoundModel("ollama", f"{owner}{model}:{tag}", blob, blob.stat().st_size)


def _ggufs(program: Program, folder: Path, name: str) -> Iterator[FoundModel]:
    """Yield a folder's GGUF files; the file's name is said where there are several."""
    found = [file for file in sorted(folder.glob("*.gguf")) if file.is_file() and not file.name.startswith("mmproj")]
    for file in found:
        called = name if len(found) == 1 else f"{name}/{file.name}"
        yield FoundModel(program, called, file, file.stat().st_size)


_PLACES: dict[Program, Callable[[], Iterator[FoundModel]]] = {
    "hf": _hugging_face,
    "lmstudio": _lm_studio,
    "ollama": _ollama,
}
