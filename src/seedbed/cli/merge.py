"""`seedbed merge`: adapters into a model's weights, or several models into one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.common import bytes_text, common_flags, print_json
from seedbed.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedbed.core.artifacts import Artifact, Library


@click.command("merge")
@click.argument("models", nargs=-1, required=True)
@click.option("--name", required=True, help="Name of the result.")
@click.option("--adapter", "folders", multiple=True, type=click.Path(path_type=Path), help="A folder in PEFT's format.")
@click.option("--weights", default="", help="Numbers with commas, one for each model or adapter.")
@click.option(
    "--method",
    type=click.Choice(["linear", "slerp", "task"]),
    default="linear",
    show_default=True,
    help="How models are merged.",
)
@click.option("--base", help="With --method task: the model that the others were trained from.")
@common_flags
def merge_command(
    models: tuple[str, ...],
    name: str,
    folders: tuple[Path, ...],
    weights: str,
    method: str,
    base: str | None,
    as_json: bool,
) -> None:
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
    from seedbed.core.artifacts import Library

    _check(models, folders, method, base)
    numbers = _numbers(weights)
    library = Library()
    artifacts = [library.get(reference, "model") for reference in ([base] if base else []) + list(models)]
    if folders:
        made = _merge_adapters(library, artifacts[0], folders, numbers or [1.0] * len(folders), name)
    else:
        made = _merge_models(library, artifacts, numbers or [1.0] * len(models), method, name)
    if as_json:
        print_json({"name": name, "id": made.id, "bytes": made.size, **made.manifest.config})
    else:
        print(f"{name}: model {made.id[:12]}, {bytes_text(made.size)}")


def _check(models: Sequence[str], folders: Sequence[Path], method: str, base: str | None) -> None:
    problem, fix = "", "see `seedbed merge --help`"
    if folders and (len(models) > 1 or base or method != "linear"):
        problem, fix = "adapters are merged into one model", "merge the adapters first, then the models"
    elif not folders and len(models) == 1 and method != "task":
        problem, fix = f"{models[0]} stands alone", "name a second model, or --adapter FOLDER"
    elif (method == "task") != (base is not None):
        problem = "--method task and --base belong together"
    if problem:
        raise UsageError("nothing can be merged like this", why=problem, fix=fix)


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")] if text else []
    except ValueError as error:
        raise UsageError(f"--weights {text}", why=str(error), fix="write numbers with commas: 0.7,0.3") from error
    if any(abs(number) == float("inf") or number != number for number in numbers):
        raise UsageError(f"--weights {text}", why="a weight is not finite", fix="write numbers with commas: 0.7,0.3")
    return numbers


def _merge_adapters(
    library: Library, artifact: Artifact, folders: Sequence[Path], weights: list[float], name: str
) -> Artifact:
    from seedbed.formats.peft_format import read_peft
    from seedbed.transform.adapters import family_of, merge_adapters, to_ours
    from seedbed.transform.derived import open_stored, write_derived

    if len(weights) != len(folders):
        raise UsageError(
            "every adapter needs a weight",
            why=f"there are {len(weights)} weights for {len(folders)} adapters",
            fix="give --weights one number an adapter, or leave it out",
        )
    stored = open_stored(artifact)
    family = family_of(stored)
    adapters = [to_ours(read_peft(folder), stored.config, family) for folder in folders]
    config, tensors = merge_adapters(stored, adapters, weights)
    record = {"adapters": [_origin(*pair) for pair in zip(folders, weights, strict=True)]}
    with library.writing("model", parents=[artifact], config=record, name=name) as draft:
        draft.licence = artifact.manifest.licence
        write_derived(draft.path, stored, tensors, config)
    return draft.result


def _origin(folder: Path, weight: float) -> dict[str, Any]:
    """An adapter is no artifact: its hash says which it was."""
    from seedbed.core.files import sha256_file
    from seedbed.formats.peft_format import WEIGHTS

    return {"path": str(folder), "sha256": sha256_file(folder / WEIGHTS), "weight": weight}


def _merge_models(
    library: Library, artifacts: list[Artifact], weights: list[float], method: str, name: str
) -> Artifact:
    from typing import cast

    from seedbed.transform.derived import open_stored, write_derived
    from seedbed.transform.merge import Method, merge

    stored = [open_stored(artifact) for artifact in artifacts]
    tensors = merge(stored, weights, cast(Method, method))
    record = {"method": method, "weights": weights, "models": [artifact.id for artifact in artifacts]}
    parents = list({artifact.id: artifact for artifact in artifacts}.values())
    with library.writing("model", parents=parents, config=record, name=name) as draft:
        licences = {parent.manifest.licence for parent in parents}
        draft.licence = "" if "" in licences else " AND ".join(sorted(licences))  # one unknown leaves all unknown
        write_derived(draft.path, stored[0], tensors)
    return draft.result
