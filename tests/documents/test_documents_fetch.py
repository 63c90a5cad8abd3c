"""The guarded client against a real server on this machine: what it refuses, and that it connects where it checked."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from seedbed.core.errors import CapacityError, DataError, SeedbedError, UsageError
from seedbed.documents.fetch import check_address, fetch, resolve
from seedbed.documents.limits import Limits
from seedbed.documents.reading import read

HERE = "127.0.0.1"


@dataclass
class Server:
    """A running server: its port, the requests it got (path and headers), and what it answers by path."""

    port: int
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=dict)
    names: list[str | None] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str, host: str = HERE, scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


@contextmanager
def running(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
            with suppress(OSError):
                server.answers.get(self.path, not_found)(self)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    http = Quiet((HERE, 0), Handler)
    server = Server(http.server_port)
    if context is not None:
        context.sni_callback = lambda socket, name, context: server.names.append(name)
        http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        http.shutdown()
        http.server_close()
        thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as found:
        yield found


def not_found(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


def page(body: bytes, content_type: str = "text/html", status: int = 200, **headers: str) -> Callable[..., None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-type", content_type)
        handler.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def to(location: str, **headers: str) -> Callable[..., None]:
    return page(b"", status=302, location=location, **headers)


# Addresses

PUBLIC = ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::808:808"]
PRIVATE = """
    127.0.0.1 127.255.0.1 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 192.0.2.1 198.51.100.1 203.0.113.1
    ::1 fc00::1 fd12::1
"""
NEVER = """
    169.254.169.254 169.254.0.1 0.0.0.0 0.1.2.3 100.64.0.1 100.100.100.200 192.0.0.192 198.18.0.1 224.0.0.1
    240.0.0.1 255.255.255.255 168.63.129.16 :: fe80::1 fe80::1%eth0 fd00:ec2::254 fec0::1 ff02::1 2001:db8::1
    100::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:8.8.8.8 ::127.0.0.1 ::8.8.8.8 64:ff9b::7f00:1
    64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2002:a9fe:a9fe:: 2001:0:7f00:1::
"""


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert check_address(address)
    assert check_address(address, allow_private=True)


@pytest.mark.parametrize("address", PRIVATE.split())
def test_private_addresses_are_allowed_on_demand_only(address: str) -> None:
    assert not check_address(address)
    assert check_address(address, allow_private=True)


@pytest.mark.parametrize("address", NEVER.split())
def test_metadata_multicast_and_disguised_addresses_are_never_allowed(address: str) -> None:
    assert not check_address(address)
    assert not check_address(address, allow_private=True)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::ffff:127.0.0.1]", "0.0.0.0"]
)
def test_this_machine_is_refused_however_it_is_written(server: Server, host: str) -> None:
    server.answers["/"] = page(b"secret")
    with pytest.raises(SeedbedError) as caught:
        fetch(server.url("/", host))
    assert isinstance(caught.value, UsageError) or "no address" in caught.value.why
    assert server.requests == []


def test_one_address_of_many_that_is_private_is_enough_to_refuse(server: Server) -> None:
    for addresses in (["8.8.8.8", HERE], [HERE, "8.8.8.8"], ["2606:4700::1", "::ffff:10.0.0.1"]):
        with pytest.raises(UsageError, match="not fetched"):
            fetch(server.url("/", "name.test"), resolve=lambda host, port, found=addresses: found)
    assert server.requests == []


NO_PAGES = ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x/", "data:text/plain,x", "/etc/passwd", "", "http://"]
NO_PAGES += [
    "http://user:secret@example.org/",
    "http://user@example.org/",
    "http://[::1",
    "http://a.test:99999/",
    "x y",
]


@pytest.mark.parametrize("url", NO_PAGES)
def test_addresses_that_are_no_pages(url: str) -> None:
    with pytest.raises(UsageError, match="not fetched") as caught:
        fetch(url, resolve=lambda host, port: pytest.fail("the name was looked up"))
    assert "secret" not in str(caught.value)


# The connection


def test_it_connects_to_the_checked_address_under_the_hosts_own_name(server: Server) -> None:
    """The system cannot resolve this name: only what was checked can have been connected to, and it is asked once."""
    asked = []

    def once(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return [HERE]

    server.answers["/a?b=c"] = page(b"hello", "text/plain; charset=latin-1")
    found = fetch(server.url("/a?b=c", "name.invalid"), allow_private=True, resolve=once)
    assert (found.data, found.content_type) == (b"hello", "text/plain")
    assert found.url == server.url("/a?b=c", "name.invalid")
    assert asked == [("name.invalid", server.port)]
    [(path, headers)] = server.requests
    assert (path, headers["host"]) == ("/a?b=c", f"name.invalid:{server.port}")


def test_a_name_that_changes_its_address_is_checked_again_at_every_redirect(server: Server) -> None:
    answers = iter([[HERE], ["169.254.169.254"]])
    server.answers["/"] = to("/latest/meta-data")
    with pytest.raises(UsageError, match="not fetched") as caught:
        fetch(server.url("/", "rebinding.test"), allow_private=True, resolve=lambda host, port: next(answers))
    assert "169.254.169.254" in caught.value.why
    assert [path for path, _ in server.requests] == ["/"]


NOT_THERE = ["http://169.254.169.254/latest", "file:///etc/passwd", "//[::ffff:10.0.0.1]/", "http://a:b@127.0.0.1/"]
NOT_THERE += ["data:text/plain,x", "DATA:,", "javascript:alert(1)", "mailto:a@b.c", "about:blank", "tel:1", "ws://x/"]
NOT_THERE += ["http://xn--/", "http://[::1", "http://a:b:c/", "http://a.test:99999/", "data:," + "x" * 5000]


@pytest.mark.parametrize("location", NOT_THERE)
def test_redirects_to_where_it_must_not_go(server: Server, location: str) -> None:
    server.answers["/"] = to(location)
    with pytest.raises(UsageError, match="not fetched"):
        fetch(server.url("/"), allow_private=True)
    assert len(server.requests) == 1


TYPES = [
    'Text/HTML; Charset="ISO-8859-1"',
    "TEXT/HTML;CHARSET=latin1",
    "text/html ; charset=Latin-1 ;x",
    "text/html,a/b",
]


@pytest.mark.parametrize("stated", TYPES)
def test_a_type_is_known_however_it_is_spelled(server: Server, stated: str) -> None:
    server.answers["/"] = page("<p>Café</p>".encode("latin-1"), stated)
    [document] = read(server.url("/"), allow_private=True)
    assert document.text.strip() == "Café"


def test_redirects_are_followed_without_cookies_and_not_for_ever(server: Server) -> None:
    server.answers |= {f"/{number}": to(f"{number + 1}", set_cookie="id=7") for number in range(20)}
    server.answers["/5"] = page(b"there", "text/plain")
    found = fetch(server.url("/0"), allow_private=True)
    assert (found.data, found.url) == (b"there", server.url("/5"))
    assert not any("cookie" in headers for _, headers in server.requests)
    server.requests.clear()
    server.answers["/5"] = to("6")
    with pytest.raises(DataError, match="cannot be read") as caught:
        fetch(server.url("/0"), allow_private=True)
    assert "more than 5" in caught.value.why
    assert len(server.requests) == 6


def test_no_proxy_from_the_environment(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers["/"] = page(b"direct")
    with running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url(""))
        assert fetch(server.url("/"), allow_private=True).data == b"direct"
        assert proxy.requests == []


def test_certificates_are_checked_against_the_name_that_is_sent(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=name.test -addext subjectAltName=DNS:name.test"
    subprocess.run([*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with running(context) as server, pytest.raises(DataError, match="cannot be read") as caught:
        fetch(server.url("/", "name.test", "https"), allow_private=True, resolve=lambda host, port: [HERE])
    assert "CERTIFICATE_VERIFY_FAILED" in caught.value.why
    assert server.names == ["name.test"]


# Caps


def test_a_page_larger_than_the_cap_is_cut_off_whatever_its_length_says(server: Server) -> None:
    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/plain")
        handler.end_headers()
        while True:
            handler.wfile.write(b"x" * 65536)

    server.answers |= {"/endless": endless, "/long": page(b"x" * 3000), "/fits": page(b"x" * 1000)}
    for path in ("/endless", "/long"):
        with pytest.raises(CapacityError, match="too large"):
            fetch(server.url(path), Limits(download_bytes=1000), allow_private=True)
    assert len(fetch(server.url("/fits"), Limits(download_bytes=1000), allow_private=True).data) == 1000


@pytest.mark.parametrize("place", ["nothing", "headers", "body"])
def test_a_server_that_never_ends_is_cut_off(server: Server, place: str) -> None:
    """One byte now and then resets every timeout but the one for the whole."""

    def drip(handler: BaseHTTPRequestHandler) -> None:
        if place != "nothing":
            handler.wfile.write(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n")
        if place == "body":
            handler.wfile.write(b"\r\n")
        while not server.ended.wait(0.05):
            if place != "nothing":
                handler.wfile.write(b"x: y\r\n" if place == "headers" else b"x")

    server.answers["/"] = drip
    with pytest.raises(DataError, match="cannot be read") as caught:
        fetch(server.url("/"), Limits(download_seconds=0.6), allow_private=True)
    assert "0.6 s" in caught.value.why


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (page(b"x", "image/png"), "image/png"),
        (page(b"x", "application/octet-stream"), "octet-stream"),
        (page(gzip.compress(b"x" * 10**6), "text/html", content_encoding="gzip"), "compressed"),
        (page(b"x", status=404), "404"),
        (page(b"x", status=500), "500"),
        (page(b"x", status=304), "304"),
    ],
)
def test_answers_that_are_no_documents(server: Server, answer: Callable[..., None], reason: str) -> None:
    server.answers["/"] = answer
    with pytest.raises(DataError, match="cannot be read") as caught:
        fetch(server.url("/"), allow_private=True)
    assert reason in caught.value.why


def test_nobody_there() -> None:
    with socket.socket() as unused:
        unused.bind((HERE, 0))  # bound, but not listening
        with pytest.raises(DataError, match="cannot be read"):
            fetch(f"http://{HERE}:{unused.getsockname()[1]}/", allow_private=True)


def test_names_without_an_address() -> None:
    for found in (lambda host, port: [], lambda host, port: resolve("", -1) and []):
        with pytest.raises((DataError, UsageError)):
            fetch("http://name.invalid/", resolve=found)


# Reading


def test_a_page_is_read_as_a_document(server: Server) -> None:
    server.answers["/start"] = to("/rivers")
    server.answers["/rivers"] = page(b"<head><title>Rivers</title></head><nav>x</nav><h1>Rivers</h1><p>They flow.")
    [document] = read(server.url("/start"), allow_private=True)
    assert (document.source, document.title) == (server.url("/rivers"), "Rivers")
    assert document.text == "# Rivers\n\nThey flow.\n"
    with pytest.raises(UsageError, match="not fetched"):
        list(read(server.url("/start")))


def test_a_page_is_read_in_the_encoding_that_http_declares(server: Server) -> None:
    server.answers["/a"] = page("<p>Река</p>".encode("koi8-r"), "text/html; charset=KOI8-R")
    server.answers["/b"] = page("Река".encode("iso-8859-5"), 'text/plain; charset="iso-8859-5"')
    server.answers["/c"] = page("Река".encode(), "text/plain; charset=iso-8859-5")  # wrong, as so often
    for path, by in (("/a", "declared"), ("/b", "declared"), ("/c", None)):
        [document] = read(server.url(path), allow_private=True)
        assert (document.text.strip(), document.metadata.get("encoding_by")) == ("Река", by)


def test_a_file_on_the_web_is_read_by_its_type(server: Server) -> None:
    server.answers["/a"] = page(b"# Top\n\nText", "text/markdown; charset=utf-8")
    server.answers["/b"] = page(b"a,b\n1,2\n", "text/csv")
    server.answers["/c"] = page(b"no pdf", "application/pdf")
    assert [document.title for document in read(server.url("/a"), allow_private=True)] == ["Top"]
    assert [document.text for document in read(server.url("/b"), allow_private=True)] == ["a: 1\nb: 2"]
    with pytest.raises(DataError, match="cannot be read"):
        list(read(server.url("/c"), allow_private=True))
