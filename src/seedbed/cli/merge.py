"""`seedbed merge`: adapters into a model's weights, or several models into one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.core.units import bytes_text
from seedbed.transform.methods import MergeMethod


@click.command("merge")
@options.stored("models", "model", nargs=-1, required=True)
@options.name("Name of the result.", required=True)
@click.option(
    "--adapter", "adapters", multiple=True, type=click.Path(path_type=Path), help="A folder in PEFT's format."
)
@click.option("--weights", default="", help="Numbers with commas, one for each model or adapter.")
@options.choice("--method", of=MergeMethod, text="How models are merged.", default="linear", show_default=True)
@click.option("--base", help="With --method task: the model that the others were trained from.")
@options.common_flags
def merge_command(name: str, weights: str, as_json: bool, **given: Any) -> None:
    """Merge LoRA adapters into MODEL, or several MODELS of the same shape into one.

    Adapters: W + weight · scale · up · down in every layer they have; each weighs 1 unless --weights says otherwise.
    Models: linear (the weighted mean; all weigh the same unless told), slerp (two; along the arc from the first to
    the second), task (--base plus what each has learned since; each weighs 1). Needs memory for a few tensors only.

    \b
    Example:
      seedbed merge quickstart --adapter tuned/ --name tuned
      seedbed merge tuned quickstart --weights 0.7,0.3 --name between
      seedbed merge tuned other --method task --base quickstart --weights 1,0.5 --name both
    """
    from seedbed.app.merge import MergeRequest, merged

    made = merged(Library(), MergeRequest(weights=_numbers(weights), **given), name)
    if as_json:
        print_json({"name": name, "id": made.id, "bytes": made.size, **made.manifest.config})
    else:
        print(f"{name}: model {made.id[:12]}, {bytes_text(made.size)}")


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")] if text else []
        if not all(map(math.isfinite, numbers)):
            raise ValueError("a weight is not finite")
    except ValueError as error:
        raise UsageError(f"--weights {text}", why=str(error), fix="write numbers with commas: 0.7,0.3") from error
    return numbers
