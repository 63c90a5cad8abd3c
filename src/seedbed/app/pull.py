"""A published model brought from the hub into the library."""

from __future__ import annotations

from seedbed.app.transfer import import_as
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError
from seedbed.core.progress import say
from seedbed.core.units import bytes_text
from seedbed.formats.gguf.parts import part_names
from seedbed.formats.huggingface.quantization import scaling_of
from seedbed.hub.hub import Hub
from seedbed.hub.pulling import Pulled, discard, fetch_json, model_files, pull, pulled_before, staging, stored
from seedbed.hub.repository import Address, Listing
from seedbed.models.families.registry import read_published
from seedbed.models.quantized import scheme_by_name
from seedbed.models.store import kind_of, require_decoder


def pull_model(
    library: Library,
    hub: Hub,
    address: Address,
    revision: str | None,
    name: str,
    gguf: str | None = None,
    quantization: str | None = None,
) -> Artifact:
    """Return the model of a repository: from the library if it is stored already, else from the hub.

    Raises:
        NotFoundError: there is no such repository, revision or file.
        UsageError: it is no decoder and is to be quantized.
        HubError: the hub does not answer, or a file arrived damaged.
    """
    if quantization is not None:
        scheme_by_name(quantization)  # refuse now rather than after the download
    if hub.offline:
        kept = stored(library, address, revision, gguf, quantization)
        if kept is not None:
            return name_stored(library, kept, name)
        pulled = pulled_before(library.root, address, revision)
        artifact = _imported(library, pulled, gguf or "", name, quantization)
        discard(pulled)
        return artifact
    listing = hub.listing(address, revision)
    choice = model_files(hub, listing, gguf)
    kept = stored(library, address, listing.commit, choice.main, quantization)
    if kept is not None:
        return name_stored(library, kept, name)
    if not choice.main:
        _check_kind(hub, listing, quantization)
    announce(listing, [(file.path, file.bytes) for file in choice.files])
    with staging(library.root, listing) as folder:
        pulled = pull(hub, listing, choice.files, folder, room_after=choice.stored)
        artifact = _imported(library, pulled, choice.main, name, quantization)
        discard(pulled)
    return artifact


def announce(listing: Listing, files: list[tuple[str, int]], licence: str = "") -> None:
    """Say what will be downloaded."""
    total = sum(size for _, size in files)
    say(f"{listing.address} at {listing.commit[:12]}, licence {licence or listing.licence or 'not stated'}")
    for path, size in sorted(files, key=lambda file: -file[1])[:12]:
        say(f"  {bytes_text(size):>8}  {path}")
    more = f", {len(files) - 12} more" if len(files) > 12 else ""
    say(f"  {bytes_text(total):>8}  in {len(files)} files{more}")


def _check_kind(hub: Hub, listing: Listing, quantization: str | None) -> None:
    """Read config.json before the weights are downloaded; raises UsageError for a model that could not be stored."""
    config = fetch_json(hub, listing, "config.json")
    scaling_of(config, str(listing.address))
    _, shape = read_published(config)
    if quantization is not None:
        require_decoder(kind_of(shape), str(listing.address))


def name_stored(library: Library, artifact: Artifact, name: str) -> Artifact:
    """Give a stored artifact the name as well."""
    artifact.verify()
    library.name(name, artifact)
    say(f"{name} is stored already: {artifact.kind} {artifact.id[:12]}")
    return artifact


def _imported(library: Library, pulled: Pulled, main: str, name: str, quantization: str | None) -> Artifact:
    if not main:  # a folder that was pulled before may hold one GGUF file instead
        found = [one for one in sorted(pulled.folder.rglob("*.gguf")) if part_names(one.name)[0] == one.name]
        main = found[0].relative_to(pulled.folder).as_posix() if len(found) == 1 else ""
    path = pulled.folder / main if main else pulled.folder
    if not path.exists():
        raise NotFoundError(f"there is no {main}", why=f"{pulled.folder} does not hold it", fix="pull it again")
    source = pulled.source | {"main": main}
    return import_as(library, path, name, source=source, licence=pulled.licence, quantization=quantization)
