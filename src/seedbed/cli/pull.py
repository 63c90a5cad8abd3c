"""`seedbed pull`: a model or a data set from the hub into the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.common import bytes_text, common_flags, print_json
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.core.artifacts import Artifact, Library
    from seedbed.hub.hub import Hub
    from seedbed.hub.repository import Address, Listing


@click.command("pull")
@click.argument("repository", metavar="REPO")
@click.option("--revision", help="A branch, tag or commit; main unless given.")
@click.option("--name", help="Name in the library; the repository's own unless given.")
@click.option("--file", "gguf", help="The GGUF file to take, where there are several.")
@click.option("--offline", is_flag=True, help="Use what is here; ask nothing of the network.")
@click.option("--config", help="Data sets: the configuration.")
@click.option("--split", help="Data sets: the split; the training split unless given.")
@click.option(
    "--as", "form", type=click.Choice(["corpus", "pairs"]), help="Data sets: text, or prompts with replies. [guessed]"
)
@click.option("--text-column", help="Data sets: the column of the text.")
@click.option("--messages-column", help="Data sets: the column of whole conversations.")
@click.option("--prompt-column", help="Data sets: the column of prompts.")
@click.option("--reply-column", help="Data sets: the column of replies.")
@common_flags
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
    from seedbed.core.artifacts import Library, check_name
    from seedbed.hub.hub import Hub
    from seedbed.hub.repository import read_address

    address = read_address(repository)
    _check_flags(address.kind, gguf, data)
    library, hub, called = Library(), Hub(offline=offline), check_name(name or address.short)
    if address.kind == "model":
        artifact = _pull_model(library, hub, address, revision, called, gguf)
    else:
        from seedbed.cli.pull_data import pull_data

        artifact = pull_data(library, hub, address, revision, called, data)
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


def _pull_model(
    library: Library, hub: Hub, address: Address, revision: str | None, name: str, gguf: str | None
) -> Artifact:
    """From the library where it is there already, else from the hub."""
    from seedbed.hub.pulling import discard, pull, pulled_before, staging, stored

    if hub.offline:
        kept = stored(library, address, revision, gguf)
        if kept is not None:
            return _named(library, kept, name)
        pulled = pulled_before(library.root, address, revision)
        artifact = _imported(library, pulled, gguf or "", name)
        discard(pulled)
        return artifact
    from seedbed.hub.model_files import choose_model_files

    listing = hub.listing(address, revision)
    kept = stored(library, address, listing.commit, gguf)
    if kept is not None:
        return _named(library, kept, name)
    choice = choose_model_files(listing, gguf)
    announce(listing, [(file.path, file.bytes) for file in choice.files])
    with staging(library.root, listing) as folder:
        pulled = pull(hub, listing, choice.files, folder, room_after=choice.stored)
        artifact = _imported(library, pulled, choice.main, name)
        discard(pulled)
    return artifact


def announce(listing: Listing, files: list[tuple[str, int]]) -> None:
    """What is about to come, before it comes."""
    total = sum(size for _, size in files)
    say(f"{listing.address} at {listing.commit[:12]}, licence {listing.licence or 'not stated'}")
    for path, size in sorted(files, key=lambda file: -file[1])[:12]:
        say(f"  {bytes_text(size):>8}  {path}")
    more = f", {len(files) - 12} more" if len(files) > 12 else ""
    say(f"  {bytes_text(total):>8}  in {len(files)} files{more}")


def _named(library: Library, artifact: Artifact, name: str) -> Artifact:
    """What is here already gets the name as well."""
    artifact.verify()
    library.name(name, artifact)
    say(f"{name} is here already: {artifact.kind} {artifact.id[:12]}")
    return artifact


def _imported(library: Library, pulled: Any, main: str, name: str) -> Artifact:
    from seedbed.formats.importing import import_model

    if not main:  # a folder that was pulled before may hold one GGUF file instead
        found = sorted(pulled.folder.rglob("*.gguf"))
        main = found[0].relative_to(pulled.folder).as_posix() if len(found) == 1 else ""
    path = pulled.folder / main if main else pulled.folder
    if not path.exists():
        raise NotFoundError(f"there is no {main}", why=f"{pulled.folder} does not hold it", fix="pull it again")
    return import_model(library, path, name, source=pulled.source, licence=pulled.licence)
