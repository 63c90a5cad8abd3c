"""`seedbed pull`: a model or a data set from the hub into the library."""

from __future__ import annotations

import click

from seedbed.cli import options
from seedbed.cli.common import print_json
from seedbed.core.artifacts import Library, check_name
from seedbed.core.errors import UsageError
from seedbed.core.units import bytes_text


@click.command("pull")
@click.argument("repository", metavar="REPO")
@options.revision
@options.name("Name in the library. [default: the repository's]")
@click.option("--file", "gguf", help="The GGUF file to take, where there are several.")
@options.offline
@click.option("--config", help="Data sets: the configuration.")
@click.option("--split", help="Data sets: the split; the training split unless given.")
@click.option(
    "--as", "form", type=click.Choice(["corpus", "pairs"]), help="Data sets: text, or prompts with replies. [guessed]"
)
@click.option("--text-column", help="Data sets: the column of the text.")
@click.option("--messages-column", help="Data sets: the column of whole conversations.")
@click.option("--prompt-column", help="Data sets: the column of prompts.")
@click.option("--reply-column", help="Data sets: the column of replies.")
@options.common_flags
def pull_command(
    repository: str,
    revision: str | None,
    name: str | None,
    gguf: str | None,
    offline: bool,
    as_json: bool,
    **data: str | None,
) -> None:
    """Bring a model or a data set from the hub into the library.

    REPO is OWNER/NAME, hf:OWNER/NAME, or hf:datasets/OWNER/NAME. Only safetensors and GGUF are taken as weights. A
    pull that was cut off goes on where it stopped; every file is compared with its hash. HF_ENDPOINT names a mirror,
    HF_TOKEN opens private and gated repositories.

    \b
    Example:
      seedbed pull HuggingFaceTB/SmolLM2-135M-Instruct --name smol
      seedbed pull hf:OWNER/NAME-GGUF --file model-q8_0.gguf
      seedbed pull hf:datasets/OWNER/NAME --as pairs --split train
    """
    from seedbed.app.pull import pull_model
    from seedbed.app.pull_data import DataSetOptions, pull_data
    from seedbed.hub.hub import Hub
    from seedbed.hub.repository import read_address

    address = read_address(repository)
    _check_flags(address.kind, gguf, data)
    library, hub, called = Library(), Hub(offline=offline), check_name(name or address.short)
    if address.kind == "model":
        artifact = pull_model(library, hub, address, revision, called, gguf)
    else:
        artifact = pull_data(library, hub, address, revision, called, DataSetOptions(**data))
    if as_json:
        source = artifact.manifest.config.get("source")
        print_json({"name": called, "id": artifact.id, "kind": artifact.kind, "source": source})
    else:
        print(f"{artifact.kind} {artifact.id[:12]} {called}: {bytes_text(artifact.size)}")


def _check_flags(kind: str, gguf: str | None, data: dict[str, str | None]) -> None:
    given = [f"--{key.replace('_', '-').replace('form', 'as')}" for key, value in data.items() if value is not None]
    wrong = given if kind == "model" else (["--file"] if gguf is not None else [])
    if wrong:
        other = "data sets (hf:datasets/OWNER/NAME)" if kind == "model" else "models"
        raise UsageError(f"{wrong[0]} does not fit here", why=f"it is for {other}", fix="leave it out")
