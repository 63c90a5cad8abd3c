"""`seedbed import` and `seedbed export`: published models from and to folders and GGUF files on this disk."""

from __future__ import annotations

from pathlib import Path

import click

from seedbed.cli import options
from seedbed.cli.common import print_json
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.core.units import bytes_text
from seedbed.formats.published_forms import GgufPrecision, PublishedForm

to_format = options.choice("--to", "form", of=PublishedForm, text="The format.", default="hf", show_default=True)
quantization = options.choice(
    "--quantization", of=GgufPrecision, text="GGUF: precision.", default="f16", show_default=True
)


@click.command("import")
@click.argument("path", type=options.PATH)
@options.name("Name in the library. [default: the folder's or file's]")
@click.option("--licence", default="", help="Licence of the weights (SPDX), where the files do not state it.")
@click.option("--tokenizer", type=options.PATH, help="A folder or file of its tokenizer, where PATH has none.")
@options.common_flags
def import_command(path: Path, name: str | None, licence: str, tokenizer: Path | None, as_json: bool) -> None:
    """Take a published model from this disk into the library.

    PATH is a folder with config.json and safetensors, as transformers writes it, or a GGUF file. Pickle files (.bin,
    .pt) are refused: opening one runs code.

    $ seedbed import ./SmolLM2-135M --name smol
    $ seedbed import model-q8_0.gguf
    """
    from seedbed.app.transfer import import_published

    called, artifact = import_published(Library(), path, name, licence, tokenizer)
    if as_json:
        print_json({"name": called, "id": artifact.id, "bytes": artifact.size})
    else:
        print(f"model {artifact.id[:12]} {called}: {bytes_text(artifact.size)}")


@click.command("export")
@options.model
@to_format
@options.output("A new folder. [default: MODEL-hf or MODEL-gguf]")
@quantization
@options.common_flags
def export_command(
    model: str, form: PublishedForm, output: Path | None, quantization: GgufPrecision, as_json: bool
) -> None:
    """Write MODEL for other programs, with a model card (README.md).

    hf is a folder that transformers, vLLM and others read; gguf is a folder with one file for llama.cpp and what is
    made of it.

    $ seedbed export quickstart --to hf --output quickstart-hf
    $ seedbed export quickstart --to gguf --quantization q8_0
    """
    from seedbed.app.transfer import export_published

    made = export_published(Library(), model, form, output, quantization)
    if as_json:
        print_json({"folder": str(made.folder), "files": made.files})
    else:
        say(f"wrote {bytes_text(sum(made.files.values()))} in {len(made.files)} files")
        print(made.folder)
