"""What `train` and `demo` share: finding a recipe, setting a corpus, running it, and saying what came out."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seedbed.core.artifacts import Library
    from seedbed.pipeline.recipe import Recipe
    from seedbed.pipeline.run import Outcome


def recipe_path(name: str) -> Path:
    """A recipe's path: as given, or one that comes with seedbed (`quickstart`).

    Raises:
        NotFoundError: there is neither.
    """
    from seedbed.core.errors import NotFoundError

    package = Path(__file__).resolve().parent.parent
    homes = [package / "recipes", package.parent.parent / "recipes"]
    shipped = [path for home in homes if home.is_dir() for path in sorted(home.glob("*.toml"))]
    for path in (Path(name), *(path for path in shipped if path.stem == name)):
        if path.is_file():
            return path
    known = ", ".join(sorted({path.stem for path in shipped}))
    raise NotFoundError(
        f"there is no recipe {name!r}", why=f"no such file; the ones that come with seedbed are {known}", fix="check it"
    )


def load_with_corpus(name: str, overrides: Sequence[str], corpus: str | None) -> Recipe:
    """A recipe with its overrides, on another text where one is given ("stdlib", a folder, a glob or a file).

    The model is then called after the text, unless an override names it.
    """
    from seedbed.pipeline.recipe import load_recipe

    recipe = load_recipe(recipe_path(name), overrides)
    if corpus is None:
        return recipe
    changed = _with_corpus(recipe, corpus)
    named = any(override.partition("=")[0].strip() == "name" for override in overrides)
    return replace(changed, name=recipe.name) if named else changed


def _with_corpus(recipe: Recipe, corpus: str) -> Recipe:
    from seedbed.corpus.settings import STDLIB_SOURCE, SourceSettings
    from seedbed.documents.file_walk import STDLIB

    if corpus == STDLIB:
        return replace(recipe, corpus=replace(recipe.corpus, sources=(STDLIB_SOURCE,)))
    name = re.sub(r"[^A-Za-z0-9]+", "-", Path(corpus).resolve().stem).strip("-") or "text"
    sources = (SourceSettings(name=name, path=corpus),)
    return replace(recipe, name=f"{recipe.name}-{name}", corpus=replace(recipe.corpus, sources=sources))


def execute(recipe: Recipe, library: Library, *, resume: bool = False, restart: bool = False) -> Outcome:
    """Run a recipe; the command line is kept for the report."""
    from seedbed.pipeline.run import run_recipe

    command = shlex.join(["seedbed", *sys.argv[1:]])
    return run_recipe(recipe, library, resume=resume, restart=restart, command=command)


def summary(recipe: Recipe, outcome: Outcome) -> dict[str, Any]:
    """What came out, for `--json` and for people."""
    from seedbed.core.files import read_json

    results = read_json(outcome.evaluation.file("results.json"))
    return {
        "model": recipe.name,
        "id": outcome.model.id,
        "bits_per_byte": results["bits_per_byte"],
        "table": {row["name"]: row["bits_per_byte"] for row in results["table"]},
        "report": str(outcome.evaluation.file("report.html")),
    }


def show_summary(result: dict[str, Any]) -> None:
    """The table of a finished recipe on standard output."""
    from seedbed.cli.common import print_table

    rows = [[name, f"{value:.3f}"] for name, value in result["table"].items()]
    print_table(["bits per byte, held-out test text", ""], rows, right=(1,))
    print(f"\nmodel   {result['model']}  ({result['id'][:12]})\nreport  {result['report']}")
