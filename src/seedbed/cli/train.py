"""`seedbed train RECIPE`: run a recipe, or show what it would do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seedbed.cli.common import print_json, print_table
from seedbed.cli.options import common_flags, settings
from seedbed.core.allocator import keep_pages
from seedbed.core.artifacts import Library
from seedbed.core.config import describe, to_dict
from seedbed.core.errors import UsageError
from seedbed.core.progress import duration, say
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text, count_text

if TYPE_CHECKING:
    from seedbed.pipeline.recipe import Recipe


@click.command("train")
@click.argument("recipe")
@settings
@click.option("--corpus", metavar="TEXT", help="Train on this folder, glob, file or 'stdlib' instead.")
@click.option("--dry-run", is_flag=True, help="Print the resolved recipe, its memory and time, and stop.")
@click.option("--resume", is_flag=True, help="Go on with an unfinished run of this name.")
@click.option("--restart", is_flag=True, help="Begin again although there is an unfinished run of this name.")
@common_flags
def train_command(
    recipe: str, overrides: tuple[str, ...], corpus: str | None, dry_run: bool, as_json: bool, **begin: bool
) -> None:
    """Run RECIPE, a .toml file or the name of one that comes with seedbed, from text to a measured model.

    Ctrl-C saves a checkpoint and exits with 130; --resume goes on from it bit for bit.

    $ seedbed train quickstart --set pretrain.minutes=10
    $ seedbed train quickstart --corpus path/to/folder --dry-run
    """
    keep_pages()  # before torch allocates
    from seedbed.cli.recipes import execute, load_with_corpus, show_summary, summary

    if begin["resume"] and begin["restart"]:
        raise UsageError("--resume and --restart", why="they contradict each other", fix="give one of them")
    resolved = load_with_corpus(recipe, overrides, corpus)
    if dry_run:
        _dry_run(resolved, as_json)
        return
    result = summary(resolved, execute(resolved, Library(), **begin))
    if as_json:
        print_json(result)
    else:
        show_summary(result)
    if any(stage.kind == "reading" for stage in resolved.stage):
        say(f"ask it about your documents: seedbed ask --model {resolved.name} --docs NAME QUESTION")


def _dry_run(recipe: Recipe, as_json: bool) -> None:
    from seedbed.app.plan import estimate, recipe_target, to_json

    cost = estimate(recipe_target(recipe.name, recipe))
    if as_json:
        print_json({"recipe": to_dict(recipe), "plan": to_json(cost)})
        return
    rows = [[one.key, str(one.value), one.unit, one.doc] for one in describe(recipe)]
    print_table(["setting", "value", "unit", "meaning"], rows)
    size, memory = count_text(cost.plan.total), bytes_text(cost.memory["total"])
    echo(f"\n{size} parameters, {memory} to train, pretraining about {duration(cost.seconds)} on this machine")
