"""Run a recipe: each stage once, in order. Finished stages are kept, so that a resumed run goes on after them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.config import to_dict
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.progress import say
from seedbed.core.references import check_name
from seedbed.pipeline.recipe import Recipe, StageWork, check_inputs, differences, newest
from seedbed.pipeline.workspace import workspace


@dataclass(frozen=True)
class Outcome:
    """The artifacts of a recipe's stages, by the names of the stages."""

    made: dict[str, Artifact]

    def last(self, kind: str) -> Artifact:
        """Return the artifact of a kind that was made last; NotFoundError where no stage makes one."""
        if found := newest(self.made, kind):
            return found
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
        NotFoundError: something that a stage names is missing; no stage has run.
    """
    check_name(recipe.name)
    if not resume:  # an unfinished run keeps what it has found
        check_inputs(recipe, library)
    table = to_dict(recipe)
    with workspace(library, recipe.name, table, command, resume=resume, restart=restart) as run:
        _require_same(run.recipe, table)
        work = StageWork(recipe, library, run, resume)
        for stage in recipe.stage:
            found = run.made(stage.title, library)
            if found is None:
                say(f"── {stage.title}")
                found = run.finish(stage.title, stage.make(work))
            work.made[stage.title] = found
        return Outcome(work.made)


def _require_same(begun: dict[str, Any], now: dict[str, Any]) -> None:
    if changed := differences(begun, json.loads(json.dumps(now))):
        raise UsageError(
            "the recipe is not the one this run was started with",
            why=f"{', '.join(changed[:5])} changed",
            fix="put it back to resume, or begin again with --restart",
        )
