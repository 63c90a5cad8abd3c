"""Models between the library and this disk: published folders and GGUF files, read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library, check_name
from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.core.progress import say
from seedbed.formats.exporting import export_gguf, export_huggingface, load_for_export
from seedbed.formats.huggingface.model_card import CARD, Exported, model_card
from seedbed.formats.importing import Shrink, import_model, open_published
from seedbed.formats.published import load_published
from seedbed.formats.published_forms import GgufPrecision, PublishedForm
from seedbed.models.quantized import scheme_by_name
from seedbed.models.store import kind_of
from seedbed.transform.quantize import quantize

_COMPARED = 12
"""Tokens written greedily by a model and by its export."""
_ROUNDED = 0.02
"""Largest difference of a logit, as a share of the best one's height over the mean.

Measured with the quickstart's model of float32: float16 weights make 0.001, bfloat16 0.006.
"""


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
    """Store a published folder or GGUF file as a model; returns its name, by default the path's.

    Raises:
        NotFoundError: there is no such path.
        SeedbedError: it is no model that can be read.
    """
    if not path.exists():
        why = f"{path.absolute()} does not exist"
        raise NotFoundError(f"there is no {path}", why=why, fix="check the path, or `seedbed pull` it")
    stem = path.stem if path.is_file() else path.absolute().name
    called = check_name(name or re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._"))
    return called, import_as(library, path, called, licence=licence, tokenizer=tokenizer, quantization=quantization)


def import_as(library: Library, path: Path, name: str, *, quantization: str | None = None, **origin: Any) -> Artifact:
    """Store a published model as it is, or as integers without its floats ever being written.

    Args:
        quantization: one of ``kernel.packed.SCHEMES``; None keeps floats (float16 for quantized GGUF files).
        origin: as of :func:`~seedbed.formats.importing.import_model`.

    Raises:
        UsageError: there is no such quantization, or the model is no decoder.
        SeedbedError: it is no model that can be read.
    """
    if quantization is None:
        return import_model(library, path, name, **origin)
    scheme_by_name(quantization)
    return import_model(library, path, name, shrink=Shrink(quantization, quantize), **origin)


def export_published(
    library: Library, model: str, form: PublishedForm, folder: Path | None, quantization: GgufPrecision
) -> ExportedFolder:
    """Write a model into a new folder, by default ``MODEL-FORM``. Raises UsageError: not empty, or no family fits."""
    artifact = library.get(model, "model")
    target = folder or Path(f"{model}-{form}")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        why = "an export would be written over it"
        raise UsageError(f"{target} exists already", why=why, fix="name another with --output")
    return write_published(library, artifact, model, form, target, quantization)


def write_published(
    library: Library, artifact: Artifact, name: str, form: PublishedForm, folder: Path, quantization: GgufPrecision
) -> ExportedFolder:
    """Fill a new folder with a published form of a model and its card; all of it or nothing.

    Raises:
        UsageError: no published family has the model's shape.
        CapacityError: the disk is full.
    """
    with files.new_directory(folder.absolute()) as draft:
        if form == "gguf":
            file = f"{name}-{quantization}.gguf"
            export_gguf(artifact, draft / file, quantization)
            exported = Exported(name, form, file, quantization)
        else:
            export_huggingface(artifact, draft)
            exported = Exported(name, form)
        if form == "hf" or quantization in ("f32", "f16", "bf16"):
            check_export(artifact, draft / exported.file if exported.file else draft)
        (draft / CARD).write_text(model_card(library, artifact, exported), encoding="utf-8")
    folder.chmod(0o755)  # a draft is made for its owner alone
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    return ExportedFolder(folder, sizes)


def check_export(artifact: Artifact, path: Path) -> None:
    """Read an exported decoder again, and compare the logits of both along what the model writes.

    Raises:
        CorruptError: they differ.
    """
    one = load_for_export(artifact)
    if kind_of(one.model.config) != "a decoder":
        return
    other, _ = load_published(open_published(path))
    models = [model.float().eval() for model in (one.model, other)]
    ids = one.tokenizer.encode_prompt("The")[:4]
    with torch.inference_mode():
        for place in range(_COMPARED):
            wanted, found = (model(torch.tensor([ids]))[0][0, -1] for model in models)
            height = float(wanted.max() - wanted.mean())
            if (wanted - found).abs().max() > _ROUNDED * height:
                raise CorruptError(
                    f"{path.name} does not hold the model as it is here",
                    why=f"after {place} tokens its logits differ by {float((wanted - found).abs().max()):.3g}, the"
                    f" best one stands {height:.3g} above their mean",
                    fix="nothing was kept; please report the model's family, as a bug of seedbed",
                )
            ids.append(int(wanted.argmax()))
    say(f"read again: the same logits for {_COMPARED} tokens")
