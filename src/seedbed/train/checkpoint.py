"""Checkpoints: everything a run needs to go on bit for bit, each in a directory of its own.

``step-00000100/`` holds the weights that are trained, the optimizers' state, the random state and ``state.json``, which
names the hash of every other file. A directory appears whole under its name or not at all; old ones go only after the
new one is there. So a process killed at any moment leaves the last good checkpoint.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from seedbed.core import files
from seedbed.core.errors import CorruptError, newer_form
from seedbed.core.leftovers import remove_directory
from seedbed.core.randomness import random_state, restore_random_state
from seedbed.models.factory import AnyModel
from seedbed.models.store import load_weights, save_weights
from seedbed.train.optimizers import Optimizers

STATE, WEIGHTS, OPTIMIZER, RANDOM = "state.json", "model.safetensors", "optimizer.safetensors", "random.safetensors"
FORM = 2
"""The form of a checkpoint; the first had no number, and is read as well."""
_NAME = re.compile(r"step-(\d{8})")


@dataclass
class Progress:
    """The progress of a run."""

    step: int = 0  # updates done
    total: int | None = None  # updates in all, once known
    seconds: float = 0.0  # time spent, over all sessions
    tokens: int = 0  # labels trained on
    best: float | None = None  # the lowest validation loss
    best_step: int = 0
    waiting: int = 0  # validations since the best one


def save_checkpoint(
    folder: Path, model: AnyModel, optimizers: Optimizers, source: dict[str, Any], progress: Progress
) -> Path:
    """Write ``step-<n>`` under ``folder``, then remove older ones (the best validation's stays).

    Raises CapacityError where the disk is full; the checkpoints that were there stay.
    """
    target = folder / f"step-{progress.step:08d}"
    if not target.exists():
        with files.new_directory(target) as draft:
            save_weights(model, draft / WEIGHTS, trained=True)
            _save(optimizers.tensors(), draft / OPTIMIZER)
            generators = random_state()
            tensors = {"torch": generators.pop("torch")}
            tensors |= {f"cuda.{i}": state for i, state in enumerate(generators.pop("cuda", []))}
            _save(tensors, draft / RANDOM)
            hashes = {path.name: files.sha256_file(path) for path in sorted(draft.iterdir())}
            state = {"form": FORM, "progress": vars(progress), "source": source, "random": generators, "files": hashes}
            files.write_json(draft / STATE, state | {"sha256": _digest(state)})
    for old in checkpoints(folder):
        if old != target and step_of(old) != progress.best_step:
            remove_directory(old)
    return target


def load_checkpoint(path: Path, model: AnyModel, optimizers: Optimizers) -> tuple[dict[str, Any], Progress, list[str]]:
    """Restore model, optimizers and random state in place.

    Returns:
        The source's state, the progress, and libraries whose versions differ (then exactness is not promised).

    Raises:
        CorruptError: a file is missing, truncated or changed; nothing was restored.
    """
    state = verify_checkpoint(path)
    load_weights(model, path / WEIGHTS)
    optimizers.load_tensors(load_file(path / OPTIMIZER))
    tensors = load_file(path / RANDOM)
    generators = dict(state["random"]) | {"torch": tensors["torch"]}
    cuda = [tensors[name] for name in sorted(tensors) if name.startswith("cuda.")]
    different = restore_random_state(generators | ({"cuda": cuda} if cuda else {}))
    return state["source"], Progress(**state["progress"]), different


def verify_checkpoint(path: Path) -> dict[str, Any]:
    """Read ``state.json`` and compare every file with its hash; CorruptError where something does not match."""
    try:
        state: dict[str, Any] = files.read_json(path / STATE)
        if (form := int(state.get("form", 1))) > FORM:
            raise newer_form(f"checkpoint {path.name}", form, FORM)
        if state.pop("sha256") != _digest(state):
            raise ValueError(f"{STATE} no longer has the hash it was saved with")
        damaged = [name for name, digest in state["files"].items() if files.sha256_file(path / name) != digest]
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(path, str(error)) from error
    if damaged:
        raise _damaged(path, f"{', '.join(damaged)} no longer has the hash it was saved with")
    return state


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


def step_of(path: Path) -> int:
    """The step a checkpoint was made at."""
    return int(path.name.removeprefix("step-"))


def clean(folder: Path) -> None:
    """Remove what a killed save left half-written."""
    for path in folder.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def _digest(state: dict[str, Any]) -> str:
    return files.sha256_text(files.canonical_json(state))


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    with files.disk_errors(path.parent):
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def _damaged(path: Path, why: str) -> CorruptError:
    fix = f"put back a copy, or move {path} away from there: --resume then goes on from the one before"
    return CorruptError(f"checkpoint {path.name} is damaged", why=why, fix=fix)
