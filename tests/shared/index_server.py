"""A small package index on 127.0.0.1, written from PEP 503 (pages) and PEP 691 (JSON), not from our client.

It serves wheels with ranges, can cut a connection after some bytes, ask for a password, and hand out other bytes.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

JSON = "application/vnd.pypi.simple.v1+json"


def wheel(files: Mapping[str, bytes], package: str = "carrier", licence: str = "MIT") -> bytes:
    """The bytes of a wheel with these files, as build tools make it (zip, stored or deflated)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr(
            f"{package}-1.0.dist-info/METADATA", f"Metadata-Version: 2.4\nName: {package}\nLicense: {licence}\n"
        )
    return out.getvalue()


@dataclass
class Index:
    """A running index; ``served`` are the first bytes of the ranges that were sent."""

    port: int
    wheels: dict[str, bytes] = field(default_factory=dict)
    yanked: set[str] = field(default_factory=set)
    json: bool = True
    hashes: bool = True
    password: str = ""
    cut_after: list[int] = field(default_factory=list)
    wrong: bytes = b""
    served: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/simple"


@contextmanager
def running_index() -> Iterator[Index]:
    class Handler(_Handler):
        pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    index = Handler.index = Index(http.server_port)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield index
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    index: Index

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.index.asked.append(self.path)
        sent = self.headers.get("authorization", "").removeprefix("Basic ")
        if self.index.password and base64.b64decode(sent).decode() != self.index.password:
            self._send(401, b"", "text/plain")
            return
        page = re.fullmatch(r"/simple/([^/]+)/", self.path)
        if page:
            self._page(page[1])
        elif self.path.removeprefix("/files/") in self.index.wheels:
            self._wheel(self.path.removeprefix("/files/"))
        else:
            self._send(404, b"", "text/plain")

    do_HEAD = do_GET

    def _page(self, name: str) -> None:
        found = {file: data for file, data in self.index.wheels.items() if file.split("-")[0].replace("_", "-") == name}
        if not found:
            self._send(404, b"", "text/plain")
            return
        sums = {file: hashlib.sha256(data).hexdigest() if self.index.hashes else "" for file, data in found.items()}
        if self.index.json:
            files = [
                {"filename": f, "url": f"/files/{f}", "size": len(d), "yanked": f in self.index.yanked}
                | {"hashes": {"sha256": sums[f]} if sums[f] else {}}
                for f, d in found.items()
            ]
            self._send(200, json.dumps({"name": name, "files": files}).encode(), JSON)
            return
        links = [
            f'<a href="../../files/{f}#sha256={sums[f]}"{" data-yanked" if f in self.index.yanked else ""}>{f}</a>'
            for f in found
        ]
        self._send(200, f"<!DOCTYPE html><html><body>{' '.join(links)}</body></html>".encode(), "text/html")

    def _wheel(self, name: str) -> None:
        data = self.index.wrong or self.index.wheels[name]
        start = int(re.findall(r"bytes=(\d+)-", self.headers.get("range", "bytes=0-"))[0])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("content-range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("content-length", str(len(data) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.index.served.append(start)
        stop = start + self.index.cut_after.pop(0) if self.index.cut_after else len(data)
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(data[start:stop])
        self.close_connection = True

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
