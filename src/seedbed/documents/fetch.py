"""One guarded HTTP client: fetches a page from the public web, and from nowhere else.

Against server-side request forgery (OWASP): only http and https, no user in the address; the name is resolved here,
every address it has must be public, and the connection goes to the address that was checked, so a name that changes
its address between the check and the connection gains nothing. Every redirect is checked anew. Bytes, time and content
types are capped; there are no cookies, no proxies from the environment and no compression (whose output could be a
thousand times what was sent). Certificates are checked against the name, as always.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import urljoin

import httpx

from seedbed.core.errors import DataError, UsageError
from seedbed.documents.limits import Limits, too_large, unreadable

Resolve = Callable[[str, int], Sequence[str]]
"""A host's name and port to its addresses."""
MAX_REDIRECTS = 5
_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_TYPES = (
    *("text/", "application/json", "application/ld+json", "application/x-ndjson", "application/xhtml+xml"),
    *("application/pdf", "message/rfc822", _WORD),
)
_HEADERS = {
    "user-agent": "seedbed",
    "accept": "text/html, text/*, application/pdf, */*;q=0.1",
    "accept-encoding": "identity",
}
_SHOWN = 300  # characters of an address in an error
_REDIRECTS = (301, 302, 303, 307, 308)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_REFUSED = tuple(
    ipaddress.ip_network(network)
    for text in (
        "0.0.0.0/8 100.64.0.0/10 192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 240.0.0.0/4",
        "::/96 ::ffff:0:0/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 fec0::/10",
    )
    for network in text.split()
)
"""Not public, or IPv4 in the clothes of IPv6, though some versions of ``ipaddress`` call them global."""
_METADATA = frozenset(
    map(ipaddress.ip_address, ("169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"))
)
"""Metadata addresses of clouds, which tell a machine's secrets. Never fetched from."""


@dataclass(frozen=True)
class Fetched:
    """A page: its address after redirects, its type, its bytes, and the encoding that HTTP declares ("" for none)."""

    url: str
    content_type: str
    data: bytes
    charset: str = ""


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of a host by the system."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def fetch(
    url: str, limits: Limits | None = None, *, allow_private: bool = False, resolve: Resolve = resolve
) -> Fetched:
    """Fetch a page.

    Args:
        allow_private: also fetch from this machine and the local network, for an intranet's pages. Cloud metadata,
            multicast and link-local addresses are refused all the same.

    Raises:
        UsageError: the address is not allowed.
        DataError: no answer, none in time, an error, or a kind of content that is not read.
        CapacityError: it is too large.
    """
    limits = limits or Limits()
    deadline = time.monotonic() + limits.download_seconds
    address = _parse(url)
    for _ in range(MAX_REDIRECTS + 1):
        with _get(address, limits, deadline, allow_private, resolve) as response:
            if response.status_code not in _REDIRECTS or "location" not in response.headers:
                return _content(response, address, limits, deadline)
            address = _parse(response.headers["location"])
    raise unreadable(url, f"it redirects more than {MAX_REDIRECTS} times", "give the address it ends at")


def check_address(text: str, *, allow_private: bool = False) -> bool:
    """Return whether an IP address may be connected to."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address) and address in _NAT64:  # how IPv6 networks reach IPv4
        return check_address(str(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)))
    if address in _METADATA or address.is_multicast or address.is_link_local or address.is_unspecified:
        return False
    if str(address) != "::1" and any(address in network for network in _REFUSED):
        return False
    return address.is_global or (allow_private and address.is_private)


def _parse(url: str, base: httpx.URL | None = None) -> httpx.URL:
    """Return an address that may be fetched, which a redirect of another one may give from there."""
    try:
        address = httpx.URL(url) if base is None else httpx.URL(urljoin(str(base), url))
        host = address.host
    except (httpx.InvalidURL, ValueError) as error:  # ValueError: of a name in Punycode that is none
        raise _not_allowed(url, f"it is no address: {error}") from error
    if address.scheme not in ("http", "https"):
        raise _not_allowed(url, f"only http and https are fetched, not {address.scheme or 'a path'}")
    if not host:
        raise _not_allowed(url, "it names no host")
    if address.port is not None and not 0 < address.port < 65536:
        raise _not_allowed(url, f"there is no port {address.port}")
    if address.userinfo:
        raise _not_allowed(f"{address.scheme}://…@{address.host}", "it carries a user's name or password")
    return address


def _pin(address: httpx.URL, allow_private: bool, resolve: Resolve) -> str:
    """Return the checked IP address to connect to: the first of a host, all of which must be allowed."""
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        found = list(resolve(address.raw_host.decode("ascii"), port))
    except (OSError, UnicodeError) as error:
        raise unreadable(str(address), f"{address.host} has no address: {error}", "check the name") from error
    for ip in found:
        if not check_address(ip, allow_private=allow_private):
            what = f"{address.host} is {ip}, which" if address.host != ip else ip
            raise _not_allowed(str(address), f"{what} is not on the public web")
    if not found:
        raise unreadable(str(address), f"{address.host} has no address", "check the name")
    return found[0]


@contextmanager
def _get(
    address: httpx.URL, limits: Limits, deadline: float, allow_private: bool, resolve: Resolve
) -> Iterator[httpx.Response]:
    """Send one request to the pinned address, under the host's own name; cut it off at the deadline."""
    pinned = address.copy_with(host=_pin(address, allow_private, resolve))
    headers = _HEADERS | {"host": address.netloc.decode("ascii")}
    left = max(0.001, deadline - time.monotonic())
    watch = _Watch(left)
    extensions = {"sni_hostname": address.raw_host.decode("ascii"), "trace": watch.trace}
    try:
        with httpx.Client(trust_env=False, follow_redirects=False, timeout=left) as client:
            client.event_hooks = {"response": [partial(_resolve_redirect, address)]}
            request = client.build_request("GET", pinned, headers=headers, extensions=extensions)
            yield client.send(request, stream=True)
    except (httpx.HTTPError, OSError) as error:
        if time.monotonic() >= deadline or isinstance(error, httpx.TimeoutException):
            raise _too_slow(address, limits) from error
        raise unreadable(str(address), f"no answer: {error or type(error).__name__}", "check the address") from error
    finally:
        watch.stop()


def _resolve_redirect(address: httpx.URL, response: httpx.Response) -> None:
    """Make the address of a redirect an absolute one, checked; httpx joins it as well, and fails on ``data:``."""
    if response.status_code in _REDIRECTS and "location" in response.headers:
        response.headers["location"] = str(_parse(response.headers["location"], address))


class _Watch:
    """Cuts a connection at its deadline: a server that sends a byte now and then resets every other timeout."""

    def __init__(self, seconds: float) -> None:
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def trace(self, event: str, info: dict[str, object]) -> None:
        """Take httpcore's events: keep the socket of a connection, plain and then encrypted."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            stream = info["return_value"]
            self._sockets.append(stream.get_extra_info("socket"))  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Stop the watch: the answer is there."""
        self._timer.cancel()

    def _cut(self) -> None:
        for one in self._sockets:
            with suppress(OSError):  # closed already, or handed on to its encrypted twin
                one.shutdown(socket.SHUT_RDWR)


def _content(response: httpx.Response, address: httpx.URL, limits: Limits, deadline: float) -> Fetched:
    url = str(address)
    if response.status_code != 200:
        raise unreadable(
            url, f"the server answers {response.status_code} {response.reason_phrase}", "check the address"
        )
    stated = response.headers.get("content-type", "application/octet-stream")
    content_type = re.split("[;,]", stated)[0].strip().lower()  # a comma stands between two headers of the name
    if not content_type.startswith(_TYPES):
        raise unreadable(url, f"it is {content_type}, which is not read", "download it and convert it to text")
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
        raise unreadable(url, "it is sent compressed though that was not asked for", "download it and read the file")
    data = bytearray()
    for block in response.iter_raw():
        data += block
        if len(data) > limits.download_bytes:
            raise too_large(url, f"it has more than {limits.download_bytes:,} bytes", "download_bytes")
    if time.monotonic() >= deadline:  # cut off, which without a declared length looks like a good end
        raise _too_slow(address, limits)
    return Fetched(url, content_type, bytes(data), response.charset_encoding or "")


def _too_slow(address: httpx.URL, limits: Limits) -> DataError:
    why = f"fetching it takes more than {limits.download_seconds:g} s"
    return unreadable(str(address), why, "try again later, or raise the limit `download_seconds`")


def _not_allowed(url: str, why: str) -> UsageError:
    return UsageError(f"{url[:_SHOWN]} is not fetched", why=why, fix="give the http or https address of a public page")
