"""What gets in: keys, hosts, origins, bodies; and what a client that leaves or dawdles costs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from serving import SMALL, Live

from seedbed.serve.middleware import Gate

CHAT = "/v1/chat/completions"
LONG = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Hi"}],
    "max_tokens": 400,
    "logit_bias": {str(token): -100 for token in range(6)},
}


def routes(live: Live) -> Iterator[APIRoute]:
    gate = live._http.config.app
    assert isinstance(gate, Gate)
    for route in gate.app.routes:  # type: ignore[attr-defined]
        included = getattr(route, "original_router", None)  # newer FastAPI keeps an included router as one route
        yield from [one for one in (included.routes if included else [route]) if hasattr(one, "methods")]


def test_every_route_needs_a_key_but_health_and_the_page(live: Live) -> None:
    opened, client = set(), live.connect(None)
    for route in routes(live):
        path = route.path.replace("{identity}", "x").replace("{name}", "x")
        for method in route.methods or ():
            for value in ("", "Bearer", "Bearer sb-wrong", "Bearer ключ", f"Basic {live.key}"):
                headers = {"Authorization": value.encode()} if value else {}
                response = client.request(method, path, headers=headers)
                if response.status_code == 401:
                    if method != "HEAD":
                        assert response.json()["error"]["type"] == "authentication_error"
                else:
                    opened.add(path)
    assert {"/health", "/v1/chat/completions", "/metrics"} <= {route.path for route in routes(live)}
    assert "/health" in opened
    assert {"/", "/chat.js"} <= opened
    assert not [path for path in opened if path != "/health" and path != "/" and "." not in path]
    assert "/openapi.json" not in opened


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/../../etc/passwd", "/%2e%2e/keys.json", "/health/"])
def test_unknown_paths_are_closed_and_then_unknown(live: Live, path: str) -> None:
    assert httpx.get(live.url + path, trust_env=False).status_code == 401
    response = live.client.get(path, follow_redirects=True)
    assert response.status_code == 404
    assert response.json()["error"]["message"]


def test_a_removed_key_is_refused_at_once(live: Live) -> None:
    client = live.connect(live.keys.create("short-lived"))
    assert client.get("/v1/models").status_code == 200
    live.keys.remove("short-lived")
    assert client.get("/v1/models").status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:80", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
def test_other_host_names_are_refused(live: Live, host: str, status: int) -> None:
    """DNS rebinding: a page of evil.example, whose name now points here, sends its own name."""
    response = live.client.get("/v1/models", headers={"Host": host.format(port=live.port)})
    assert response.status_code == status


def test_a_named_host_is_answered(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, hosts=("models.lan",)))
    assert live.client.get("/v1/models", headers={"Host": "models.lan:8000"}).status_code == 200


def test_only_the_own_page_may_ask_from_a_browser(live: Live) -> None:
    for origin, status in ((live.url, 200), ("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:1", 403)):
        response = live.client.get("/v1/models", headers={"Origin": origin})
        assert response.status_code == status
        assert "access-control-allow-origin" not in response.headers


def test_every_answer_has_the_security_headers(live: Live) -> None:
    for response in (
        live.client.get("/"),
        live.client.get("/v1/models"),
        live.client.get("/nothing"),
        httpx.get(live.url),
    ):
        assert "default-src 'none'" in response.headers["content-security-policy"]
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
        assert "server" not in response.headers


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "tiny", "messages": ' + b"[" * 100 + b"]" * 100 + b"}",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"model": "tiny", "temperature": NaN}',
        b'{"model": "tiny", "temperature": -Infinity}',
        b'{"model": "tiny", "temperature": 1e999}',
        b'{"model": "tiny", "seed": ' + b"9" * 5000 + b"}",
        b'{"model": "\\ud800"}',
        b'{"model": "tiny", "tools": [{"type": "function", "function": {"name": "f", "parameters": {"\\udc00": 1}}}]}',
        b'{"model": "\xff"}',
        b"{",
        b"",
        b'{"model": "tiny", "logit_bias": {' + b",".join(b'"%d": "x"' % one for one in range(100_000)) + b"}}",
        b"null",
        b'"text"',
    ],
    ids=range(15),
)
def test_bodies_that_are_no_sound_json_are_refused(live: Live, body: bytes) -> None:
    response = live.client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400, response.text
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "declared", [None, "application/x-www-form-urlencoded", "text/plain; charset=utf-8", "application/octet-stream"]
)
def test_json_is_read_whatever_type_it_is_sent_as(live: Live, declared: str | None) -> None:
    """As by `curl -d`, which declares a form."""
    body = json.dumps({**LONG, "max_tokens": 2, "seed": 1, "messages": [{"role": "user", "content": "Grüße"}]}).encode()
    plain = live.client.post(CHAT, content=body, headers={"Content-Type": "application/json"})
    found = live.client.post(CHAT, content=body, headers={} if declared is None else {"Content-Type": declared})
    assert found.status_code == 200, found.text
    assert found.json()["choices"] == plain.json()["choices"]


def test_a_form_is_refused_by_its_type(live: Live) -> None:
    for sent in ({"data": {"model": "tiny"}}, {"files": {"model": b"tiny"}}):
        response = live.client.post(CHAT, **sent)  # type: ignore[arg-type]
        assert response.status_code == 400
        assert response.request.headers["Content-Type"].partition(";")[0] in response.json()["error"]["message"]


def test_another_sites_form_is_refused_whatever_type_it_has(live: Live) -> None:
    headers = {"Content-Type": "text/plain", "Origin": "http://evil.example"}
    assert live.client.post(CHAT, content=json.dumps(LONG), headers=headers).status_code == 403


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/v1/models/tiny", "/metrics", "/", "/chat.js", "/nothing"])
def test_head_is_answered_as_get_without_the_body(live: Live, path: str) -> None:
    get, head = live.client.get(path), live.client.head(path)
    assert head.status_code == get.status_code
    assert head.headers["content-type"] == get.headers["content-type"]
    assert head.headers.keys() == get.headers.keys()
    key = f"Host: localhost\r\nAuthorization: Bearer {live.key}\r\nConnection: close\r\n\r\n"
    raw = talk(live, f"HEAD {path} HTTP/1.1\r\n{key}".encode())
    assert raw.endswith(b"\r\n\r\n")
    assert raw.count(b"\r\n\r\n") == 1


def test_head_needs_a_key_and_does_no_work(live: Live) -> None:
    assert httpx.head(f"{live.url}/v1/models", trust_env=False).status_code == 401
    assert live.client.head(CHAT).status_code == 405


def talk(live: Live, sent: bytes) -> bytes:
    """Send bytes on a connection of its own, and read until the server closes it."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=30) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def head(live: Live, *more: str) -> bytes:
    lines = [f"POST {CHAT} HTTP/1.1", f"Host: 127.0.0.1:{live.port}", f"Authorization: Bearer {live.key}", *more]
    return "\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode()


def test_a_huge_body_is_refused_before_it_is_sent(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, header_seconds=0.5))  # the time that a client has left to send what is not read
    answer = talk(live, head(live, "Content-Length: 100000000"))
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_huge_body_without_a_length_is_cut_off(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, body_bytes=10_000, header_seconds=0.5))
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    answer = talk(live, head(live, "Transfer-Encoding: chunked") + chunk * 3)
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_hundred_megabytes_are_refused(live: Live) -> None:
    """Whoever sends them all the same is told: the connection stays open for the answer."""
    assert live.client.post(CHAT, content=b"x" * 100_000_000).status_code == 413
    assert live.client.get("/v1/models").status_code == 200


def test_slow_headers_and_slow_bodies_are_cut_off(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, header_seconds=0.2, body_seconds=0.2))
    assert talk(live, b"") == b""
    assert talk(live, b"POST / HTTP/1.1\r\nHost: loc") == b""
    assert talk(live, head(live, "Content-Length: 100") + b"{").startswith(b"HTTP/1.1 408")
    assert live.client.get("/v1/models").status_code == 200


@pytest.mark.parametrize("streamed", [False, True])
def test_a_reply_ends_with_its_client(live: Live, streamed: bool) -> None:
    before = live.state.metrics.counts["disconnects"]
    body = json.dumps({**LONG, "stream": streamed, "n": 4}).encode()
    connection = socket.create_connection(("127.0.0.1", live.port))
    connection.sendall(head(live, f"Content-Length: {len(body)}") + body)
    if streamed:
        connection.recv(100)
    else:
        live.until(lambda: not live.idle())
    connection.close()
    live.until(live.idle)
    live.until(lambda: live.state.metrics.counts["disconnects"] > before)


def test_a_reader_that_does_not_read_is_aborted(start: Callable[..., Live]) -> None:
    """Sixteen replies with twenty alternatives a token are more than the sockets' buffers hold."""
    live = start(replace(SMALL, buffer_events=64, send_seconds=2))
    body = json.dumps({**LONG, "stream": True, "n": 16, "logprobs": True, "top_logprobs": 20}).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", live.port))
        connection.sendall(head(live, f"Content-Length: {len(body)}") + body)
        live.until(lambda: live.state.metrics.counts["slow_readers"] > 0)
        live.until(live.idle)


def test_a_full_queue_says_when_to_come_back(start: Callable[..., Live]) -> None:
    live = start()
    live.ok(CHAT, **{**LONG, "max_tokens": 1})
    with ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: live.post(CHAT, **{**LONG, "n": 16, "max_tokens": 10}), range(60)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert refused[0].json()["error"]["type"] == "rate_limit_error"
    live.until(live.idle)


def test_a_reply_has_a_deadline(start: Callable[..., Live]) -> None:
    live = start(replace(SMALL, request_seconds=0.1))
    live.client.get("/v1/models")
    response = live.post(CHAT, **{**LONG, "n": 16})
    assert response.status_code == 504
    with live.client.stream("POST", CHAT, json={**LONG, "n": 16, "stream": True}) as stream:
        lines = [line for line in stream.iter_lines() if line]
    assert json.loads(lines[-2].removeprefix("data: "))["error"]["code"] == "deadline_exceeded"
    live.until(live.idle)


def test_small_answers_are_sent_at_once(live: Live) -> None:
    """Head and body are two small packets: the second must not wait for the first one's acknowledgement (Nagle)."""
    assert live.client.get("/health").status_code == 200  # the client keeps its connection
    sockets = live.sockets()
    assert sockets
    assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)


def test_unknown_query_parameters_are_refused(live: Live) -> None:
    for path in ("/v1/models", "/metrics"):
        assert live.client.get(path, params={"x": "1"}).status_code == 400


def test_without_auth_everyone_is_let_in(start: Callable[..., Live]) -> None:
    live = start()
    live.state.keys = None
    assert httpx.get(f"{live.url}/v1/models", trust_env=False).status_code == 200
    answer: dict[str, Any] = httpx.post(live.url + CHAT, json={**LONG, "max_tokens": 1}, trust_env=False).json()
    assert answer["choices"]
