"""A published model brought from the hub into the library."""

from __future__ import annotations

from seedbed.app.transfer import import_as
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError
from seedbed.core.progress import say
from seedbed.core.units import bytes_text
from seedbed.hub.hub import Hub
from seedbed.hub.model_files import choose_model_files
from seedbed.hub.pulling import Pulled, discard, pull, pulled_before, staging, stored
from seedbed.hub.repository import Address, Listing


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
        HubError: the hub does not answer, or a file arrived damaged.
    """
    if hub.offline:
        kept = stored(library, address, revision, gguf, quantization)
        if kept is not None:
            return name_stored(library, kept, name)
        pulled = pulled_before(library.root, address, revision)
        artifact = _imported(library, pulled, gguf or "", name, quantization)
        discard(pulled)
        return artifact
    listing = hub.listing(address, revision)
    kept = stored(library, address, listing.commit, gguf, quantization)
    if kept is not None:
        return name_stored(library, kept, name)
    choice = choose_model_files(listing, gguf)
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


def name_stored(library: Library, artifact: Artifact, name: str) -> Artifact:
    """Give a stored artifact the name as well."""
    artifact.verify()
    library.name(name, artifact)
    say(f"{name} is stored already: {artifact.kind} {artifact.id[:12]}")
    return artifact


def _imported(library: Library, pulled: Pulled, main: str, name: str, quantization: str | None) -> Artifact:
    if not main:  # a folder that was pulled before may hold one GGUF file instead
        found = sorted(pulled.folder.rglob("*.gguf"))
        main = found[0].relative_to(pulled.folder).as_posix() if len(found) == 1 else ""
    path = pulled.folder / main if main else pulled.folder
    if not path.exists():
        raise NotFoundError(f"there is no {main}", why=f"{pulled.folder} does not hold it", fix="pull it again")
    return import_as(library, path, name, source=pulled.source, licence=pulled.licence, quantization=quantization)
