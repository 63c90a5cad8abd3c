"""`seedbed import` and `seedbed export`: published models from and to folders and GGUF files on this disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from seedbed.cli.common import bytes_text, common_flags, print_json
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.core.artifacts import Artifact, Library

QUANTIZATIONS = ("f32", "f16", "bf16", "q8_0", "q4_0")


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--name", help="Name in the library; the folder's or file's own unless given.")
@click.option("--licence", default="", help="Licence of the weights (SPDX), where the files do not state it.")
@click.option(
    "--tokenizer", type=click.Path(path_type=Path), help="A folder or file of its tokenizer, where PATH has none."
)
@common_flags
def import_command(path: Path, name: str | None, licence: str, tokenizer: Path | None, as_json: bool) -> None:
    """Take a published model from this disk into the library.

    PATH is a folder with config.json and safetensors, as transformers writes it, or a GGUF file. Pickle files (.bin,
    .pt) are refused: opening one runs code.

    \b
    Example:
      seedbed import ./SmolLM2-135M --name smol
      seedbed import model-q8_0.gguf
    """
    import re

    from seedbed.core.artifacts import Library, check_name
    from seedbed.formats.importing import import_model

    if not path.exists():
        raise NotFoundError(
            f"there is no {path}", why=f"{path.absolute()} does not exist", fix="check the path, or `seedbed pull` it"
        )
    stem = path.stem if path.is_file() else path.absolute().name
    called = check_name(name or re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._"))
    artifact = import_model(Library(), path, called, licence=licence, tokenizer=tokenizer)
    if as_json:
        print_json({"name": called, "id": artifact.id, "bytes": artifact.size})
    else:
        print(f"model {artifact.id[:12]} {called}: {bytes_text(artifact.size)}")


@click.command("export")
@click.argument("model")
@click.option("--to", "form", type=click.Choice(["hf", "gguf"]), required=True, help="The format.")
@click.option("--output", type=click.Path(path_type=Path), help="A new folder; MODEL-hf or MODEL-gguf unless given.")
@click.option(
    "--quantization", type=click.Choice(QUANTIZATIONS), default="f16", show_default=True, help="GGUF: the weights."
)
@common_flags
def export_command(model: str, form: str, output: Path | None, quantization: str, as_json: bool) -> None:
    """Write MODEL for other programs, with a model card (README.md).

    hf is a folder that transformers, vLLM and others read; gguf is a folder with one file for llama.cpp and what is
    made of it.

    \b
    Example:
      seedbed export quickstart --to hf --output quickstart-hf
      seedbed export quickstart --to gguf --quantization q8_0
    """
    from seedbed.core.artifacts import Library

    library = Library()
    artifact = library.get(model, "model")
    folder = output or Path(f"{model}-{form}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"{folder} is there already", why="an export would be written over it", fix="name another with --output"
        )
    export_model(library, artifact, model, form, folder, quantization)
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if as_json:
        print_json({"folder": str(folder), "files": sizes})
    else:
        say(f"wrote {bytes_text(sum(sizes.values()))} in {len(sizes)} files")
        print(folder)


def export_model(
    library: Library, artifact: Artifact, name: str, form: str, folder: Path, quantization: str = "f16"
) -> None:
    """Fill a new folder with a published form of a model and its card; all of it or nothing.

    Raises:
        UsageError: no published family has the model's shape.
        CapacityError: the disk is full.
    """
    from seedbed.core import files
    from seedbed.formats.exporting import export_gguf, export_huggingface
    from seedbed.formats.huggingface.model_card import CARD, Exported, model_card

    with files.new_directory(folder.absolute()) as draft:
        if form == "gguf":
            file = f"{name}-{quantization}.gguf"
            export_gguf(artifact, draft / file, cast(Any, quantization))
            exported = Exported(name, form, file, quantization)
        else:
            export_huggingface(artifact, draft)
            exported = Exported(name, form)
        (draft / CARD).write_text(model_card(library, artifact, exported), encoding="utf-8")
    folder.chmod(0o755)  # a draft is made for its owner alone
