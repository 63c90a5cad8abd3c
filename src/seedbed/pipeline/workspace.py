"""The working folder of a run: what is done, what is left, and a lock. It goes when the run is finished."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.references import check_name
from seedbed.train import checkpoint

STATE = "run.json"


@dataclass
class Workspace:
    """An unfinished run."""

    folder: Path  # ``<library>/work/<name>``; every training stage has a folder in it
    recipe: dict[str, Any]  # resolved, as a table
    command: str = ""  # how it was started
    started: str = ""
    done: dict[str, str] = field(default_factory=dict)  # the artifact that each finished stage made

    def finish(self, stage: str, artifact: Artifact) -> Artifact:
        """Remember what a stage made, so that a resumed run does not make it again."""
        self.done[stage] = artifact.id
        self.save()
        return artifact

    def made(self, stage: str, library: Library) -> Artifact | None:
        """Return what a stage made in an earlier session."""
        try:
            return library.get(self.done[stage]) if stage in self.done else None
        except NotFoundError:
            return None

    def save(self) -> None:
        """Write ``run.json``."""
        files.write_json(self.folder / STATE, {key: value for key, value in vars(self).items() if key != "folder"})

    @property
    def step(self) -> tuple[str, int]:
        """The training stage that has checkpoints, and the newest one's step."""
        for stage in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            if found := checkpoint.checkpoints(stage / "checkpoints"):
                return stage.name, checkpoint.step_of(found[-1])
        return "", 0


def unfinished(library: Library) -> list[Workspace]:
    """All runs that have begun and are not finished."""
    return [read(path.parent) for path in sorted(library.root.glob(f"work/*/{STATE}"))]


def read(folder: Path) -> Workspace:
    """Read a working folder."""
    return Workspace(folder, **files.read_json(folder / STATE))


@contextmanager
def workspace(
    library: Library, name: str, recipe: dict[str, Any], command: str, *, resume: bool, restart: bool
) -> Iterator[Workspace]:
    """Open the working folder of run ``name``; it is removed when the block ends well.

    Raises:
        UsageError: the run is going on in another process; or it is unfinished and neither ``resume`` nor
            ``restart`` is set.
        NotFoundError: there is nothing to resume.
    """
    folder = library.root / "work" / check_name(name)
    if not resume:
        _make_room(folder, name, restart)
    elif not (folder / STATE).exists():
        raise NotFoundError(
            f"there is no unfinished run {name!r}", why=f"{folder} does not exist", fix="leave --resume out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder, name):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        work = read(folder) if resume else Workspace(folder, recipe, command, now)
        work.save()
        yield work
        shutil.rmtree(folder)


def _make_room(folder: Path, name: str, restart: bool) -> None:
    if (folder / STATE).exists():
        with _lock(folder, name):
            stage, step = read(folder).step
            if stage and not restart:
                raise UsageError(
                    f"run {name!r} stopped at step {step} of {stage} and is not finished",
                    why=f"{folder} holds its checkpoints",
                    fix="add --resume to go on, or --restart to begin again",
                )
            shutil.rmtree(folder)


@contextmanager
def _lock(folder: Path, name: str) -> Iterator[None]:
    """Only one process works in a folder; the lock goes with the process."""
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UsageError(
            f"run {name!r} is going on in another process",
            why=f"{folder / 'lock'} is held",
            fix="wait for it, or give this run another name (--set name=other)",
        ) from error
    finally:
        os.close(descriptor)
