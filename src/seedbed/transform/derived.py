"""Models derived from stored ones: read tensor by tensor, and written beside the other files of the original.

Weights are mapped, so merging or pruning needs memory for a few tensors, however large the model.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from seedbed.core import config as settings
from seedbed.core import files
from seedbed.core.artifacts import Artifact
from seedbed.core.errors import UsageError
from seedbed.formats.safetensors.shards import open_safetensors, write_safetensors
from seedbed.models.checkpoint import Checkpoint
from seedbed.models.config import AnyConfig
from seedbed.models.store import CONFIG, WEIGHTS, read_config, read_description


@dataclass(frozen=True)
class StoredModel:
    """A float model in the library: its configuration, and its weights by name, not yet read."""

    artifact: Artifact
    description: dict[str, Any]
    config: AnyConfig
    tensors: Checkpoint

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for name in self.tensors.names():
            yield name, self.tensors.read(name)


def open_stored(artifact: Artifact) -> StoredModel:
    """Open a stored model: UsageError where its weights are quantized, CorruptError where a file is damaged."""
    description = read_description(artifact)
    if description.get("quantization"):
        raise UsageError(
            f"model {artifact.id[:12]} is quantized ({description['quantization']})",
            why="its weights are rounded integers; changing them would lose twice",
            fix="use the model it was made from (`seedbed show` names it), and quantize the result",
        )
    artifact.verify()
    weights = open_safetensors(artifact.file(WEIGHTS))
    return StoredModel(artifact, description, read_config(description["model"]), weights)


def write_derived(
    folder: Path, origin: StoredModel, tensors: Iterable[tuple[str, Tensor]], config: AnyConfig | None = None
) -> None:
    """Write a model into a draft's folder: new weights and configuration, everything else as it is in ``origin``.

    Args:
        tensors: by our names, one at a time.
        config: the new shape, where it is another.

    Raises:
        CapacityError: the disk is full.
    """
    write_safetensors(folder, tensors, shard_bytes=float("inf"))
    described = dict(origin.description)
    if config is not None:
        described["model"] = settings.to_dict(config)
    files.write_json(folder / CONFIG, described)
    with files.disk_errors(folder):
        for name in origin.artifact.manifest.files:
            if name not in (WEIGHTS, CONFIG):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(origin.artifact.file(name), folder / name)
