"""Edges of HTTP: hosts, origins and lengths that are none; and what errors do not tell."""

from __future__ import annotations

import json
import socket

import pytest
from serving import Live

from seedbed.core.errors import CorruptError, NotFoundError, SeedbedError, UsageError
from seedbed.serve.errors import error_body


def talk(live: Live, sent: bytes) -> bytes:
    """Send bytes on a connection of its own, and read until the server closes it."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=30) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def ask(live: Live, *lines: str, key: bool = True, method: str = "GET", path: str = "/v1/models") -> bytes:
    more = [f"Authorization: Bearer {live.key}"] if key else []
    return talk(live, "\r\n".join([f"{method} {path} HTTP/1.1", *lines, *more, "Connection: close", "", ""]).encode())


@pytest.mark.parametrize("key", [True, False])
@pytest.mark.parametrize(
    "host", ["[", "[::1", "a]b", "[evil]", "::1", "localhost:abc", "evil.com@localhost", "a b", "localhost/x", "ü"]
)
def test_a_host_that_is_no_name_is_refused_as_malformed(live: Live, host: str, key: bool) -> None:
    assert ask(live, f"Host: {host}", key=key).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("key", [True, False])
@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://]", "//[x"])
def test_an_origin_that_is_no_address_is_refused_as_malformed(live: Live, origin: str, key: bool) -> None:
    assert ask(live, "Host: localhost", f"Origin: {origin}", key=key).startswith(b"HTTP/1.1 400")


NEXT = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 0"],
        ["Content-Length: 4", "Content-Length: 35"],
        ["Content-Length: -5"],
        ["Content-Length: +5"],
        ["Content-Length: " + "9" * 5000],
        ["Transfer-Encoding: xchunked"],
        ["X: a\0b"],
    ],
    ids=range(8),
)
def test_an_unclear_length_ends_the_connection(live: Live, lines: list[str]) -> None:
    """Nothing after it is taken for a request: a proxy before us may have read it otherwise (smuggling)."""
    head = ["POST /tokenize HTTP/1.1", "Host: localhost", f"Authorization: Bearer {live.key}", *lines, "", ""]
    answer = talk(live, "\r\n".join(head).encode() + b"0\r\n\r\n" + NEXT)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501")), answer[:100]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"default-src 'none'" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "malformed"


def test_an_error_names_no_path_of_the_server() -> None:
    home = "/home/someone/.local/share/seedbed"
    errors: list[SeedbedError] = [
        CorruptError(f"{home}/docs/mine/store.sqlite is damaged", why=f"at '{home}/x y/z'", fix=f"see {home}."),
        NotFoundError("there is none", why=f"{home}/refs/m has none", fix=f'look at "{home}/"'),
        UsageError(r"C:\Users\someone\lib\keys.json is in use", why=f"({home}/a)", fix="wait"),
    ]
    for error in errors:
        message = error_body(error)[1]["error"]["message"]
        assert "someone" not in message, message
        assert ".local" not in message
    assert "store.sqlite is damaged" in error_body(errors[0])[1]["error"]["message"]


def test_an_error_keeps_addresses_and_shares_of_two() -> None:
    error = UsageError("see https://example.org/a/b", why="1/2 and/or 3", fix="read it")
    assert error_body(error)[1]["error"]["message"] == "see https://example.org/a/b: 1/2 and/or 3; read it"
