"""What arrives broken: streams cut within a character, that end early or with an error, and a server that is busy.

The real server does none of this on demand, so a plain socket server with the page's files sends the bytes.
"""

from __future__ import annotations

import json
import mimetypes
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import pytest
from chat_page import conversations, finished, shown, until

PAGE = files("seedbed.serve") / "page"


class Faulty(BaseHTTPRequestHandler):
    """Serves the page, one model, and the bytes in ``server.pieces``: the first, the others after ``server.read``."""

    def do_GET(self) -> None:
        name = self.path.lstrip("/") or "index.html"
        lists: dict[str, list[Any]] = {"v1/models": [{"id": "tiny"}], "v1/collections": []}
        body = json.dumps({"data": lists[name]}).encode() if name in lists else (PAGE / name).read_bytes()
        self.answer(200, mimetypes.guess_type(name)[0] or "application/json", [body])

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        server: Any = self.server
        self.answer(server.status, "text/event-stream", server.pieces)

    def answer(self, status: int, kind: str, pieces: list[bytes]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Retry-After", "7")
        self.end_headers()
        server: Any = self.server
        for place, piece in enumerate(pieces):
            if place:
                server.read.wait()
            self.wfile.write(piece)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def faulty() -> Iterator[Any]:
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    server.status, server.pieces, server.read = 200, [], threading.Event()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def talk(faulty: Any, new_page: Callable[..., Any]) -> Callable[..., Any]:
    """Asks on the page and returns it with the reply it kept."""

    def talk(pieces: list[bytes], status: int = 200) -> tuple[Any, dict[str, Any]]:
        faulty.status, faulty.pieces = status, pieces
        page = new_page(expected="status of 429")
        page.goto(f"http://127.0.0.1:{faulty.server_port}/")
        until(page, "document.querySelector('#model').value === 'tiny'")
        page.keyboard.type("Hello")
        page.keyboard.press("Enter")
        if len(pieces) > 1:
            until(page, "document.querySelector('.running .body')?.textContent")
            faulty.read.set()
        finished(page)
        return page, shown(conversations(page)[0])[1]

    return talk


def event(text: str, tokens: list[bytes], finish: str | None = None) -> bytes:
    entries = [{"token": repr(token), "bytes": list(token), "logprob": -0.25, "top_logprobs": []} for token in tokens]
    choice = {"index": 0, "delta": {"content": text}, "logprobs": {"content": entries}, "finish_reason": finish}
    return f"data: {json.dumps({'choices': [choice]}, ensure_ascii=False)}\n\n".encode()


def test_a_stream_cut_within_a_character_reads_the_same(talk: Callable[..., Any]) -> None:
    """A character of two tokens is one entry; a half at the end of the reply is kept."""
    seedling = "🌱".encode()
    whole = event("aé", [b"a", b"\xc3", b"\xa9"]) + event("🌱\n", [seedling[:3], seedling[3:] + b"\n"])
    whole += event("\ufffd", [b"\xc3"], "length") + b"data: [DONE]\n\n"
    whole = whole.replace(b"\n\n", b"\r\n\r\n")
    cut = whole.index(seedling) + 2
    _, reply = talk([whole[:cut], whole[cut:]])
    assert reply["text"] == "aé🌱\n\ufffd"
    tokens = [(text, logprob) for text, logprob, _ in reply["tokens"]]
    assert tokens == [("a", -0.25), ("é", -0.5), ("🌱\n", -0.5), ("\ufffd", -0.25)]
    assert reply["finish"] == "length"


def test_a_stream_that_ends_early_is_a_lost_connection(talk: Callable[..., Any]) -> None:
    page, reply = talk([event("The beginning", [b"The", b" beginning"])])
    assert reply["text"] == "The beginning"
    assert "connection was lost" in page.locator(".assistant .error").inner_text()


def test_an_error_within_a_stream_is_shown_in_its_words(talk: Callable[..., Any]) -> None:
    failed = b'data: {"error": {"message": "the engine ran out of blocks"}}\n\ndata: [DONE]\n\n'
    page, reply = talk([event("The beginning", [b"The", b" beginning"]), failed])
    assert reply["text"] == "The beginning"
    assert page.locator(".assistant .error").inner_text() == "the engine ran out of blocks"


def test_a_busy_server_says_when_to_come_back(talk: Callable[..., Any]) -> None:
    page, reply = talk([b'{"error": {"message": "The queue is full."}}'], status=429)
    assert reply["text"] == ""
    assert page.locator(".assistant .error").inner_text() == "The queue is full. Try again in 7 s."


def test_an_answer_that_is_no_json_is_told_too(talk: Callable[..., Any]) -> None:
    page, _ = talk([b"<html>busy</html>"], status=429)
    assert page.locator(".assistant .error").inner_text() == "The server is busy. Try again in 7 s."
