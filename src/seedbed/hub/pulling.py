"""Pull a repository: check the room, download into a folder beside the library, compare each file's hash.

The folder ``<library>/pulls/<repository>--<commit>`` holds ``pull.json`` (wanted files with hashes) and ``files/``.
It outlives a cut connection, a killed process and a full disk, and goes when its content was taken over. A commit never
changes, so the folder's content stays right; another commit has another folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.core import files
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CapacityError, CorruptError, NotFoundError, UsageError
from seedbed.core.progress import progress
from seedbed.hub.downloading import Download, Host, RetryPolicy
from seedbed.hub.hub import Hub
from seedbed.hub.model_files import INDEX, ModelFiles, choose_model_files, needs_index, shards_of
from seedbed.hub.repository import Address, Listing, RemoteFile

PLAN, FILES = "pull.json", "files"
_SPARE = 64 * 2**20
"""Bytes left free beside what is needed."""
_MAX_JSON = 10_000_000


@dataclass(frozen=True)
class Pulled:
    """A repository's files on this disk, with their origin for a manifest."""

    staging: Path
    folder: Path
    source: dict[str, Any]
    licence: str


@contextmanager
def staging(root: Path, listing: Listing) -> Iterator[Path]:
    """Lock the folder of a commit's files for this process alone. It stays; :func:`discard` removes it.

    Raises:
        UsageError: another process is pulling the same commit.
    """
    folder = staging_folder(root, listing.address, listing.commit)
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield folder
    except BlockingIOError as error:
        raise UsageError(
            f"{listing.address} is being pulled by another process",
            why=f"{folder / 'lock'} is held",
            fix="wait for it",
        ) from error
    finally:
        os.close(descriptor)


def staging_folder(root: Path, address: Address, commit: str) -> Path:
    """Return the folder of a commit's files while they are downloaded."""
    return root / "pulls" / f"{address.page.replace('/', '--')}--{commit[:12]}"


def pull(
    host: Host,
    listing: Listing,
    wanted: Iterable[RemoteFile],
    folder: Path,
    *,
    room_after: int = 0,
    retries: RetryPolicy | None = None,
) -> Pulled:
    """Download files of a listing into a staging folder; complete files are not fetched again.

    Args:
        room_after: bytes that will be needed when the files are taken over.

    Raises:
        CapacityError: there is too little room on the disk, before anything is fetched, or it fills up meanwhile.
        CorruptError: a file does not have the hash it should have.
        HubError: refused, or no answer; the part received is kept.
    """
    chosen = tuple(wanted)
    target = folder / FILES
    missing = [file for file in chosen if not _here(target / file.path, file)]
    check_room(folder, sum(max(0, file.bytes - _part(target / file.path)) for file in missing), room_after)
    record = _record(host, listing, chosen)
    files.write_json(folder / PLAN, record | {"licence": listing.licence, "wanted": [asdict(file) for file in chosen]})
    total = sum(file.bytes for file in chosen)
    policy = retries or RetryPolicy()
    with (
        host.client(policy.timeout) as client,
        progress(f"pulling {listing.address}", total / 1e6, "MB") as bar,
    ):
        bar.advance((total - sum(file.bytes for file in missing)) / 1e6)
        download = Download(host, listing, client, policy)
        for file in missing:
            download.fetch(file, target / file.path, lambda count, name=file.path: bar.advance(count / 1e6, name))  # type: ignore[misc]
    return Pulled(folder, target, record, listing.licence)


def fetch_json(hub: Hub, listing: Listing, path: str) -> dict[str, Any]:
    """Fetch a small JSON file of a repository, compared with its hash and not kept.

    Raises:
        NotFoundError: there is none.
        CorruptError: it is no JSON object.
        HubError: refused, or no answer.
    """
    file = listing.file(path)
    if file.bytes > _MAX_JSON:
        raise CorruptError(f"{path} is no description", why=f"it has {file.bytes:,} bytes", fix="choose another model")
    with (
        tempfile.TemporaryDirectory() as folder,
        hub.client(RetryPolicy().timeout) as one,
    ):
        target = Path(folder) / path.rpartition("/")[2]
        Download(hub, listing, one).fetch(file, target)
        return files.read_json_object(target, fix="choose another model", most=_MAX_JSON)


def model_files(hub: Hub, listing: Listing, gguf: str | None = None) -> ModelFiles:
    """Choose the files of a model, by its index where it is in shards. Raises as :func:`choose_model_files`."""
    shards = shards_of(fetch_json(hub, listing, INDEX)) if gguf is None and needs_index(listing) else ()
    return choose_model_files(listing, gguf, shards)


def check_room(folder: Path, download: int, after: int) -> None:
    """Check that the disk has room.

    Raises:
        CapacityError: it has not.
    """
    free = shutil.disk_usage(folder).free
    if download + after + _SPARE > free:
        parts = f"{download / 1e9:.2f} GB to download" + (f" and {after / 1e9:.2f} GB to store it" if after else "")
        raise CapacityError(
            "there is too little room on the disk",
            why=f"{parts} are needed, {free / 1e9:.2f} GB are free under {folder}",
            fix="free some (`seedbed ls`, `seedbed rm NAME`), or set SEEDBED_HOME to a larger disk",
        )


def pulled_before(root: Path, address: Address, revision: str | None) -> Pulled:
    """Return files that an earlier pull completed, for use without a network.

    Raises:
        NotFoundError: there are none.
    """
    for folder in sorted((root / "pulls").glob(f"{address.page.replace('/', '--')}--*")):
        try:
            plan = files.read_json(folder / PLAN)
            wanted = [RemoteFile(**entry) for entry in plan.pop("wanted")]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        fits = plan.get("repository") == str(address) and revision in (None, plan["commit"], plan["revision"])
        if fits and all(_here(folder / FILES / file.path, file) for file in wanted):
            licence = str(plan.pop("licence", ""))
            return Pulled(folder, folder / FILES, plan, licence)
    raise NotFoundError(
        f"{address} is not on this machine",
        why=f"neither {root} nor an earlier pull holds it{f' at {revision}' if revision else ''}, and the network is"
        " not to be used",
        fix="run it without --offline, or `seedbed import PATH` a copy",
    )


def stored(
    library: Library,
    address: Address,
    revision: str | None,
    main: str | None = None,
    quantization: str | None = None,
    sha256: str = "",
) -> Artifact | None:
    """Return the newest model that was pulled from a repository or package; None where there is none, or several are.

    Args:
        revision: a branch, tag, commit or version that it must have been pulled at.
        main: the GGUF file that it must have been made from, by its whole path; "" for a folder at the top.
        quantization: the scheme that it must be stored in.
        sha256: of a file that it must have come from.
    """
    found: dict[str, Artifact] = {}
    for one in library.all("model"):
        config, source = one.manifest.config, one.manifest.config.get("source")
        if not isinstance(source, dict) or config.get("quantization") != quantization:
            continue
        own, hashes = str(source.get("main", "")), {file.get("sha256") for file in source.get("files", {}).values()}
        same = source.get("repository") == str(address)
        at = revision in (None, source.get("commit"), source.get("revision"))
        if same and at and main in (None, own) and (not sha256 or sha256 in hashes):
            found.setdefault(own, one)
    return next(iter(found.values())) if len(found) == 1 else None


def discard(pulled: Pulled) -> None:
    """Remove a staging folder whose content was taken over."""
    shutil.rmtree(pulled.staging, ignore_errors=True)


def _record(host: Host, listing: Listing, chosen: tuple[RemoteFile, ...]) -> dict[str, Any]:
    """Return the origin of the files, for the manifest."""
    return {
        "repository": str(listing.address),
        "endpoint": host.endpoint,
        "revision": listing.revision,
        "commit": listing.commit,
        "pulled": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": {file.path: file.record for file in chosen},
    }


def _here(path: Path, file: RemoteFile) -> bool:
    """Return whether a file is complete: it only gets its name after its hash was compared."""
    return path.is_file() and path.stat().st_size == file.bytes


def _part(path: Path) -> int:
    part = path.with_name(f"{path.name}.part")
    return part.stat().st_size if part.is_file() else 0
