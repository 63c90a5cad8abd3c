"""`seedbed import` and `seedbed export`: published models from and to folders and GGUF files on this disk."""

from __future__ import annotations

from pathlib import Path

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text
from seedbed.formats.published_forms import GgufPrecision, PublishedForm
from seedbed.hub.local_models import FoundModel, Program

to_format = options.choice("--to", "form", of=PublishedForm, text="The format.", default="hf", show_default=True)
precision = options.choice(
    "--quantization", "precision", of=GgufPrecision, text="The precision of a GGUF file. [default: f16]"
)


@click.command("import")
@click.argument("path", required=False)
@options.name("Name in the library. [default: the folder's or file's]")
@options.choice("--from", "program", of=Program, text="A model of another program's; without PATH they are listed.")
@click.option("--licence", default="", help="Licence of the weights (SPDX), where the files do not state it.")
@click.option("--tokenizer", type=options.PATH, help="A folder or file of its tokenizer, where PATH has none.")
@options.stored_as
@options.common_flags
def import_command(
    path: str | None,
    name: str | None,
    program: Program | None,
    licence: str,
    tokenizer: Path | None,
    quantization: str | None,
    as_json: bool,
) -> None:
    """Take a published model from this disk into the library.

    PATH is a folder with config.json and safetensors, as transformers writes it, a GGUF file (of several parts: any
    one), or a folder with a LoRA adapter in PEFT's format, whose model is in the library already; with --from it is the
    name of a model in Hugging Face's cache, LM Studio's folder or ollama's store, where it stays. Pickle files (.bin,
    .pt) are refused: opening one runs code.

    $ seedbed import ./SmolLM2-135M --name smol
    $ seedbed import model-q8_0.gguf --quantization int8
    $ seedbed import --from ollama
    $ seedbed import --from ollama llama3.2:1b
    """
    from seedbed.app.transfer import import_published
    from seedbed.hub.local_models import find_local, local_models

    if path is None:
        _list_local(local_models(program), as_json)
        return
    local = find_local(program, path) if program else None
    source = local.path if local else Path(path)
    called, artifact = import_published(
        Library(), source, name or (local.short if local else None), licence, tokenizer, quantization
    )
    if as_json:
        print_json({"name": called, "id": artifact.id, "bytes": artifact.size})
    else:
        echo(f"{artifact.kind} {artifact.id[:12]} {called}: {bytes_text(artifact.size)}")


def _list_local(found: list[FoundModel], as_json: bool) -> None:
    if as_json:
        print_json([{"program": one.program, "name": one.name, "path": one.path, "bytes": one.bytes} for one in found])
    elif found:
        rows = [[one.program, one.name, bytes_text(one.bytes)] for one in found]
        print_table(["program", "model", "size"], rows, right=(2,))
        say(f"take one with `seedbed import --from {found[0].program} {found[0].name}`")
    else:
        say("no model of Hugging Face's cache, LM Studio or ollama is on this disk; `seedbed search` shows others")


@click.command("export")
@options.model
@to_format
@options.output("A new folder. [default: MODEL-hf or MODEL-gguf]")
@precision
@options.common_flags
def export_command(
    model: str, form: PublishedForm, output: Path | None, precision: GgufPrecision | None, as_json: bool
) -> None:
    """Write MODEL for other programs, with a model card (README.md).

    hf is a folder that transformers, vLLM and others read, in the precision that MODEL is stored in; gguf is a folder
    with one file for llama.cpp and what is made of it. What was written is read again and compared before it is kept.

    $ seedbed export quickstart --to hf --output quickstart-hf
    $ seedbed export quickstart --to gguf --quantization q8_0
    """
    from seedbed.app.transfer import export_published

    made = export_published(Library(), model, form, output, precision)
    if as_json:
        print_json({"folder": str(made.folder), "files": made.files})
    else:
        say(f"wrote {bytes_text(sum(made.files.values()))} in {len(made.files)} files")
        echo(made.folder)
