"""Adapters merged into a model's weights, or several models into one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.core.files import sha256_file
from seedbed.core.progress import say
from seedbed.formats.peft_format import WEIGHTS, read_peft
from seedbed.models.store import load_tokenizer
from seedbed.transform.adapters import family_of, merge_adapters, to_ours
from seedbed.transform.derived import open_stored, write_derived
from seedbed.transform.merge import merge
from seedbed.transform.methods import MergeMethod


def merged(
    library: Library,
    name: str,
    models: Sequence[str],
    adapters: Sequence[Path] = (),
    weights: Sequence[float] = (),
    method: MergeMethod = "linear",
    base: str | None = None,
) -> Artifact:
    """Merge models with each other, or one with adapters (folders in PEFT's format), and store the result.

    Tokenizer, chat template and stated sampling are those of the first of ``models``.

    Args:
        weights: one for each model or adapter; empty: each weighs 1.
        base: for "task": the model that the others were trained from.

    Raises:
        UsageError: these cannot be merged so.
        NotFoundError: there is no such model or adapter.
    """
    _check(models, adapters, method, base)
    artifacts = [library.get(reference, "model") for reference in (*([base] if base else []), *models)]
    weighed = list(weights) or [1.0] * len(adapters or models)
    if adapters:
        return _merge_adapters(library, artifacts[0], adapters, weighed, name)
    return _merge_models(library, artifacts, weighed, method, name)


def _check(models: Sequence[str], folders: Sequence[Path], method: MergeMethod, base: str | None) -> None:
    problem, fix = "", "see `seedbed merge --help`"
    if folders and (len(models) > 1 or base or method != "linear"):
        problem, fix = "adapters are merged into one model", "merge the adapters first, then the models"
    elif not folders and len(models) == 1 and method != "task":
        problem, fix = f"{models[0]} is the only model", "name a second model, or --adapter FOLDER"
    elif (method == "task") != (base is not None):
        problem = "--method task and --base belong together"
    if problem:
        raise UsageError("these cannot be merged", why=problem, fix=fix)


def _merge_adapters(
    library: Library, artifact: Artifact, folders: Sequence[Path], weights: list[float], name: str
) -> Artifact:
    if len(weights) != len(folders):
        why = f"there are {len(weights)} weights for {len(folders)} adapters"
        fix = "give --weights one number an adapter, or leave it out"
        raise UsageError("every adapter needs a weight", why=why, fix=fix)
    stored = open_stored(artifact)
    family = family_of(stored)
    adapters = [to_ours(read_peft(folder), stored.config, family) for folder in folders]
    config, tensors = merge_adapters(stored, adapters, weights)
    records = [  # an adapter is no artifact: its hash identifies it
        {"path": str(folder), "sha256": sha256_file(folder / WEIGHTS), "weight": weight}
        for folder, weight in zip(folders, weights, strict=True)
    ]
    with library.writing("model", parents=[artifact], config={"adapters": records}, name=name) as draft:
        draft.licence = artifact.manifest.licence
        write_derived(draft.path, stored, tensors, config)
    return draft.result


def _merge_models(
    library: Library, artifacts: list[Artifact], weights: list[float], method: MergeMethod, name: str
) -> Artifact:
    stored = [open_stored(artifact) for artifact in artifacts]
    tensors = merge(stored, weights, method)
    kept = stored[1 if method == "task" else 0]  # the base of tasks lends weights alone
    if len({_named(artifact) for artifact in artifacts}) > 1:
        called = (library.names_of(kept.artifact) or [kept.artifact.id[:12]])[0]
        say(f"the tokenizers differ in names or chat templates: those of {called}, the first model named, are kept")
    record = {"method": method, "weights": weights, "models": [artifact.id for artifact in artifacts]}
    parents = list({artifact.id: artifact for artifact in artifacts}.values())
    with library.writing("model", parents=parents, config=record, name=name) as draft:
        licences = {parent.manifest.licence for parent in parents}
        draft.licence = "" if "" in licences else " AND ".join(sorted(licences))  # one unknown leaves all unknown
        write_derived(draft.path, kept, tensors)
    return draft.result


def _named(artifact: Artifact) -> tuple[object, ...]:
    """Return a tokenizer's hash and the names of its special tokens, to be compared."""
    tokenizer = load_tokenizer(artifact)
    return tokenizer.hash, *sorted(tokenizer.names.items())
