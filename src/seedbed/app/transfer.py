"""Models between the library and this disk: published folders and GGUF files, read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.app.adapters import import_adapter, is_adapter
from seedbed.app.export_check import check_export
from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.progress import say
from seedbed.core.references import check_name
from seedbed.formats.exporting import export_gguf, export_huggingface, load_for_export
from seedbed.formats.huggingface.model_card import CARD, Exported, model_card
from seedbed.formats.importing import Shrink, import_model
from seedbed.formats.published_forms import GgufPrecision, PublishedForm
from seedbed.hub.datasets import form_of
from seedbed.inference.published_sampling import published_sampling
from seedbed.models.quantized import scheme_by_name
from seedbed.models.store import read_config, read_description, vocabulary
from seedbed.transform.quantize import quantize


@dataclass(frozen=True)
class ExportedFolder:
    """A folder that was written; ``files`` are bytes by path."""

    folder: Path
    files: dict[str, int]


def import_published(
    library: Library,
    path: Path,
    name: str | None = None,
    licence: str = "",
    tokenizer: Path | None = None,
    quantization: str | None = None,
) -> tuple[str, Artifact]:
    """Store a published folder or GGUF file as a model, or a PEFT folder as an adapter; returns its name.

    By default the path's.

    Raises:
        NotFoundError: there is no such path.
        UsageError: it is a file of data, or the name is that of a model from elsewhere.
        SeedbedError: it is no model that can be read.
    """
    if not path.exists():
        why = f"{path.absolute()} does not exist"
        raise NotFoundError(f"there is no {path}", why=why, fix="check the path, or `seedbed pull` it")
    files.check_regular(path)
    if path.is_file() and form_of(path.name):
        fix = f"`seedbed corpus pairs {path}` for conversations, `seedbed corpus build {path}` for text"
        raise UsageError(f"{path} is no model", why="it is a file of data", fix=fix)
    stem = path.stem if path.is_file() else path.absolute().name
    called = check_name(name or re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._"))
    source = {"path": str(path.absolute())}
    check_name_free(library, called, source)
    if is_adapter(path):
        return called, import_adapter(library, path, called, licence)
    origin = {"licence": licence, "tokenizer": tokenizer, "source": source}
    return called, import_as(library, path, called, quantization=quantization, **origin)


def check_name_free(library: Library, name: str, source: Mapping[str, str]) -> None:
    """Raise UsageError where a name is that of something which came from elsewhere; ``source``: as its manifest has it.

    What came from the same place before may lose it: the name then moves to what is there now.
    """
    before = library.names().get(name)
    held = next((one for one in library.all() if one.id == before), None)
    stated = held.manifest.config.get("source") if held else None
    if held and not (isinstance(stated, dict) and source.items() <= stated.items()):
        raise UsageError(
            f"{name!r} is the name of something else",
            why=f"it is {held.kind} {held.id[:12]}, which did not come from {' '.join(source.values())}",
            fix=f"choose another with --name, or free this one (`seedbed rm {name}`)",
        )


def import_as(library: Library, path: Path, name: str, *, quantization: str | None = None, **origin: Any) -> Artifact:
    """Store a published model as it is, or as integers without its floats ever being written.

    Args:
        quantization: one of ``kernel.packed.SCHEMES``; None keeps floats (float32 for quantized GGUF files).
        origin: as of :func:`~seedbed.formats.importing.import_model`.

    Raises:
        UsageError: there is no such quantization, or the model is no decoder.
        SeedbedError: it is no model that can be read.
    """
    if quantization is None:
        return _remark(import_model(library, path, name, **origin))
    scheme_by_name(quantization)
    return _remark(import_model(library, path, name, shrink=Shrink(quantization, quantize), **origin))


def _remark(artifact: Artifact) -> Artifact:
    """Say which parts of a model's stated sampling cannot be used."""
    described = read_description(artifact)
    tokens = vocabulary(read_config(described["model"]))
    for remark in published_sampling(described.get("published", {}), tokens).remarks:
        say(f"left out of how its publishers sample: {remark}")
    return artifact


def export_published(
    library: Library, model: str, form: PublishedForm, folder: Path | None, precision: GgufPrecision | None
) -> ExportedFolder:
    """Write a model into a new folder, by default ``MODEL-FORM``.

    Raises as :func:`write_published`, and UsageError where the folder is not empty.
    """
    artifact = library.get(model, "model")
    target = folder or Path(f"{model}-{form}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        why = "an export would be written over it"
        raise UsageError(f"{target} exists already", why=why, fix="name another with --output")
    return write_published(library, artifact, model, form, target, precision)


def write_published(
    library: Library, artifact: Artifact, name: str, form: PublishedForm, folder: Path, precision: GgufPrecision | None
) -> ExportedFolder:
    """Fill a new folder with a published form of a model and its card; all of it or nothing.

    ``precision``: of a GGUF file, float16 unless given.

    Raises:
        UsageError: no published family has the model's shape, or a precision is given for a folder.
        CorruptError: read again, the export is another model.
        CapacityError: the disk is full.
    """
    _check_fits(form, precision)
    kept = (precision or "f16") if form == "gguf" else None
    exported = Exported(name, form, f"{name}-{kept}.gguf" if kept else "", kept or "")
    loaded = load_for_export(artifact)
    with files.new_directory(folder.absolute()) as draft:
        if kept:
            export_gguf(loaded, draft / exported.file, kept)
        else:
            export_huggingface(loaded, draft)
        check_export(loaded, draft / exported.file, kept)
        (draft / CARD).write_text(model_card(library, artifact, exported), encoding="utf-8")
        files.open_to_others(draft)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return ExportedFolder(folder, sizes)


def _check_fits(form: PublishedForm, precision: GgufPrecision | None) -> None:
    """Raise UsageError for a folder in another precision than the model's."""
    if form == "hf" and precision is not None:
        why = "a Hugging Face folder keeps the precision that the model is stored in"
        fix = "leave it out, or write a GGUF file with --to gguf"
        raise UsageError(f"--quantization {precision} does not fit --to hf", why=why, fix=fix)
