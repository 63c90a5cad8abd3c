"""Run a recipe: each stage once, in order. Finished stages are kept, so that a resumed run goes on after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seedbed.core.artifacts import Artifact, Library, check_name
from seedbed.core.config import to_dict
from seedbed.core.errors import ConfigError, NotFoundError
from seedbed.core.progress import say
from seedbed.pipeline.recipe import Recipe, Stage
from seedbed.pipeline.workspace import Workspace, workspace


@dataclass(frozen=True)
class Outcome:
    """The artifacts of a recipe's stages, by the names of the stages."""

    made: Mapping[str, Artifact]

    def last(self, kind: str) -> Artifact:
        """Return the artifact of a kind that was made last.

        Raises:
            NotFoundError: no stage makes one.
        """
        for artifact in reversed(list(self.made.values())):
            if artifact.kind == kind:
                return artifact
        made = ", ".join(artifact.kind for artifact in self.made.values())
        raise NotFoundError(f"the recipe makes no {kind}", why=f"its stages make {made}", fix="add a stage that does")

    @property
    def model(self) -> Artifact:
        """The model."""
        return self.last("model")

    @property
    def evaluation(self) -> Artifact:
        """The evaluation."""
        return self.last("evaluation")


def run_recipe(
    recipe: Recipe, library: Library, *, resume: bool = False, restart: bool = False, command: str = ""
) -> Outcome:
    """Run all stages of a recipe.

    Args:
        resume: go on with an unfinished run of this name.
        restart: begin again although there is an unfinished run of this name.
        command: how the user can do this again, for the report.

    Raises:
        InterruptedRun: Ctrl-C; a checkpoint was saved.
        UsageError: an unfinished run is in the way, or the recipe changed since.
    """
    check_name(recipe.name)
    with workspace(library, recipe.name, to_dict(recipe), command, resume=resume, restart=restart) as work:
        return _Run(recipe, library, work, resume).stages()


@dataclass
class _Run:
    """The stages of one run; implements :class:`~seedbed.pipeline.recipe.StageWork`."""

    recipe: Recipe
    library: Library
    work: Workspace
    resume: bool
    made: dict[str, Artifact] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that began the run."""
        return self.work.command

    def stages(self) -> Outcome:
        """Run them all in order."""
        for stage in self.recipe.stage:
            found = self.work.made(stage.title, self.library)
            if found is None:
                say(f"── {stage.title}")
                found = self.work.finish(stage.title, stage.make(self))
            self.made[stage.title] = found
        return Outcome(self.made)

    def latest(self, kind: str) -> Artifact:
        """Return the newest artifact of a kind that an earlier stage made."""
        for artifact in reversed(list(self.made.values())):
            if artifact.kind == kind:
                return artifact
        raise ConfigError(
            f"a stage of the recipe needs {kind}",
            why=f"no stage before it makes any: {', '.join(self.made) or 'it is the first'}",
            fix=f"put a stage that makes {kind} before it",
        )

    def find(self, reference: str, kind: str) -> Artifact:
        """Return what a stage or the library calls so; once found, a run keeps it, whatever the name comes to mean."""
        if reference in self.made:
            return self.library.get(self.made[reference].id, kind)
        key = f"{kind} {reference}"
        found = self.work.made(key, self.library)
        return found or self.work.finish(key, self.library.get(reference, kind))

    def called(self, stage: Stage) -> str:
        """Return the name of a stage's artifact."""
        return self.recipe.called(stage)

    def folder(self, stage: Stage) -> Path:
        """Return a stage's working folder."""
        return self.work.folder / stage.title

    def config(self, stage: Stage) -> dict[str, Any]:
        """Return what an artifact's manifest keeps of its making."""
        return {"recipe": to_dict(self.recipe), "stage": stage.title, "command": self.work.command}
