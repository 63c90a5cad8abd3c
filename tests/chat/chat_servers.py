"""A server that answers what a test tells it to, and what it is asked."""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from seedbed.chat.messages import Message
from seedbed.chat.remote import RemoteModel
from seedbed.chat.transport import Retries

CHAT = "/v1/chat/completions"
ASK = [Message("system", "Be brief."), Message("user", "What is a seed?")]
ANSWER = {
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1},
}
OK = (200, dict[str, str](), ANSWER)


def chunk(text: str = "", finish: str | None = None) -> bytes:
    """An event of a streamed reply."""
    data = {"model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


class Scripted:
    """A server that gives its answers in turn, the last one again and again, and keeps what it was asked.

    An answer is a status, headers and a body, sent as it is; a body that ends with None is cut off there, without a
    word when it is nothing else. A route in ``routes`` has an answer of its own.
    """

    def __init__(self) -> None:
        self.answers: deque[tuple[int, dict[str, str], list[bytes | None]]] = deque()
        self.routes: dict[str, tuple[int, dict[str, str], list[bytes | None]]] = {}
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.waits: list[float] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def says(self, *answers: tuple[int, dict[str, str], Any]) -> Scripted:
        self.answers.extend((status, headers, _pieces(body)) for status, headers, body in answers)
        return self

    def at(self, path: str, body: Any, status: int = 200) -> Scripted:
        self.routes[path] = status, {}, _pieces(body)
        return self

    def model(self, **options: Any) -> RemoteModel:
        return RemoteModel(self.url, "m", retries=Retries(sleep=self.waits.append), **options)

    @property
    def paths(self) -> list[str]:
        return [path for path, _, _ in self.asked]

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                script.asked.append((self.path, dict(self.headers), json.loads(sent) if sent else None))
                last = len(script.answers) == 1
                answer = script.routes.get(self.path)
                status, headers, body = answer or (script.answers[0] if last else script.answers.popleft())
                self.close_connection = True
                if body == [None]:
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if None in body:
                    self.send_header("Content-Length", "100000")  # more than there is
                self.end_headers()
                for piece in body:
                    if piece is not None:
                        self.wfile.write(piece)
                        self.wfile.flush()

            do_GET = do_POST

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler


def _pieces(body: Any) -> list[bytes | None]:
    if isinstance(body, list):
        return body
    return [body if isinstance(body, bytes) else json.dumps(body).encode()]
