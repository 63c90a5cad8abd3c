"""The shared part of `train` and `demo`: load a recipe, set its corpus, run it, print the result."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seedbed.cli.common import print_table
from seedbed.core.artifacts import Library
from seedbed.core.files import read_json
from seedbed.core.terminal import echo
from seedbed.corpus.settings import STDLIB_SOURCE, SourceSettings
from seedbed.documents.file_walk import STDLIB
from seedbed.pipeline.recipe import Recipe, load_recipe
from seedbed.pipeline.run import Outcome, run_recipe
from seedbed.pipeline.stages.corpus import CorpusStage


def load_with_corpus(name: str, overrides: Sequence[str], corpus: str | None) -> Recipe:
    """A recipe with its overrides, on another text where one is given ("stdlib", a folder, a glob or a file).

    The model is then called after the text, unless an override names it.
    """
    recipe = load_recipe(name, overrides)
    if corpus is None:
        return recipe
    title = re.sub(r"[^A-Za-z0-9]+", "-", Path(corpus).resolve().stem).strip("-") or "text"
    source = STDLIB_SOURCE if corpus == STDLIB else SourceSettings(name=title, path=corpus)
    stages = tuple(
        replace(stage, use="", settings=replace(stage.settings, sources=(source,)))
        if isinstance(stage, CorpusStage)
        else stage
        for stage in recipe.stage
    )
    named = corpus == STDLIB or any(override.partition("=")[0].strip() == "name" for override in overrides)
    return replace(recipe, name=recipe.name if named else f"{recipe.name}-{title}", stage=stages)


def execute(recipe: Recipe, library: Library, *, resume: bool = False, restart: bool = False) -> Outcome:
    """Run a recipe; the command line is kept for the report."""
    command = shlex.join(["seedbed", *sys.argv[1:]])
    return run_recipe(recipe, library, resume=resume, restart=restart, command=command)


def summary(recipe: Recipe, outcome: Outcome) -> dict[str, Any]:
    """Return the result, for `--json` and for people."""
    found = {"model": recipe.name, "id": outcome.model.id}
    if not any(artifact.kind == "evaluation" for artifact in outcome.made.values()):
        return found | {"valid_loss": outcome.model.manifest.metrics.get("valid_loss")}
    results = read_json(outcome.evaluation.file("results.json"))
    return found | {
        "bits_per_byte": results["bits_per_byte"],
        "table": {row["name"]: row["bits_per_byte"] for row in results["table"]},
        "report": str(outcome.evaluation.file("report.html")),
    }


def show_summary(result: dict[str, Any]) -> None:
    """Print the table of a finished recipe, or, where it has no evaluation, the last validation loss."""
    if "table" not in result:
        echo(f"model   {result['model']}  ({result['id'][:12]})\nvalidation loss  {result['valid_loss']}")
        return
    rows = [[name, f"{value:.3f}"] for name, value in result["table"].items()]
    print_table(["bits per byte, held-out test text", ""], rows, right=(1,))
    echo(f"\nmodel   {result['model']}  ({result['id'][:12]})\nreport  {result['report']}")
