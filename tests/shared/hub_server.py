"""A small hub on 127.0.0.1: the parts of the hub's HTTP API that pulling, searching and pushing use.

Written from the API's description and from the requests that ``huggingface_hub`` makes, not from our client. It can cut
a connection after some bytes, send wrong bytes, and refuse with any status.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 1000
"""Bytes from which a file is stored as LFS, with a SHA-256."""


@dataclass
class Repo:
    """A repository: its files, its card, and who is let in."""

    files: dict[str, bytes]
    kind: str = "model"
    card: dict[str, Any] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    listed: list[str] = field(default_factory=list)
    """Names that are listed beside the files'."""

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


@dataclass
class Hub:
    """A running hub; ``requests`` are (method, path, headers), ``served`` the ranges of file bytes that were sent."""

    port: int
    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    served: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """For a file, after how many bytes its next answers break off."""
    hold_after: dict[str, int] = field(default_factory=dict)
    """For a file, after how many bytes an answer waits until ``ended``."""
    holding: threading.Event = field(default_factory=threading.Event)
    wrong: dict[str, bytes] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    """Paths that answer with a status."""
    redirect: dict[str, str] = field(default_factory=dict)
    """Paths that are served by another address."""
    nonsense: bytes = b""
    """What every request is answered with instead."""
    ranges: bool = True
    token: str = "hf_right"
    pushed: dict[str, bytes] = field(default_factory=dict)
    created: list[dict[str, Any]] = field(default_factory=list)
    large: dict[str, bytes] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def asked(self, part: str) -> list[dict[str, str]]:
        """Headers of the requests whose path has ``part`` in it."""
        return [headers for _, path, headers in self.requests if part in path]


@contextmanager
def running_hub() -> Iterator[Hub]:
    class Handler(_Handler):
        pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    http = Quiet(("127.0.0.1", 0), Handler)
    hub = Handler.hub = Hub(http.server_port)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        hub.ended.set()
        http.shutdown()
        http.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET

    def _answer(self) -> None:
        split = urlsplit(self.path)
        path, query = unquote(split.path), parse_qs(split.query)
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding") == "chunked":
            self.body = b"".join(self._chunks())
        self.hub.requests.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
        with suppress(BrokenPipeError, ConnectionResetError):
            for start, status in self.hub.status.items():
                if path.startswith(start):
                    self._error(status)
                    return
            if path in self.hub.redirect:
                self.send_response(302)
                self.send_header("location", self.hub.redirect[path] + self.path)
                self.send_header("content-length", "0")
                self.end_headers()
            elif self.hub.nonsense:
                self._send(200, self.hub.nonsense, "text/html")
            else:
                self._route(path, query)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().strip(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _route(self, path: str, query: dict[str, list[str]]) -> None:
        info = re.fullmatch(r"/api/(model|dataset)s/(.+)/revision/(.+)", path)
        preupload = re.fullmatch(r"/api/models/(.+)/preupload/.+", path)
        commit = re.fullmatch(r"/api/models/(.+)/commit/.+", path)
        resolve = re.fullmatch(r"/(datasets/)?(.+)/resolve/([^/]+)/(.+)", path)
        if path in ("/api/models", "/api/datasets"):
            self._search(path[5:-1], query)
        elif info:
            self._info(info[1], info[2], info[3])
        elif path == "/api/repos/create":
            self._create()
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif preupload:
            self._preupload()
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch()
        elif path.startswith("/lfs/"):
            self.hub.large[path[5:]] = self.body
            self._send(200, b"")
        elif commit:
            self._commit(commit[1])
        elif resolve:
            self._file("dataset" if resolve[1] else "model", resolve[2], resolve[3], resolve[4])
        else:
            self._error(404)

    def _allowed(self, kind: str, name: str) -> Repo | None:
        """The repository, if the request may see it; else the answer is given."""
        repo, known = self.hub.repos.get(name), self.headers.get("authorization") == f"Bearer {self.hub.token}"
        if repo is None or repo.kind != kind or (repo.private and not known):
            self._error(404 if known else 401, "RepoNotFound")
            return None
        if repo.gated and not known:
            self._error(403 if self.headers.get("authorization") else 401, "GatedRepo")
            return None
        return repo

    def _info(self, kind: str, name: str, revision: str) -> None:
        repo = self._allowed(kind, name)
        if repo is None:
            return
        if revision not in ("main", repo.commit):
            self._error(404, "RevisionNotFound")
            return
        siblings = [_sibling(path, data) for path, data in repo.files.items()]
        siblings += [_sibling(path, b"x") for path in repo.listed]
        tags = [f"license:{repo.card['license']}"] if "license" in repo.card else []
        self._json({"id": name, "sha": repo.commit, "siblings": siblings, "cardData": repo.card, "tags": tags})

    def _search(self, kind: str, query: dict[str, list[str]]) -> None:
        text = query.get("search", [""])[0].lower()
        found = [
            {"id": name, "downloads": 7, "likes": 3, "tags": ["safetensors", "license:mit"], "pipeline_tag": "text"}
            for name, repo in self.hub.repos.items()
            if repo.kind == kind and text in name.lower()
        ]
        self._json(found[: int(query.get("limit", ["100"])[0])])

    def _file(self, kind: str, name: str, revision: str, path: str) -> None:
        repo = self._allowed(kind, name)
        if repo is None:
            return
        if revision not in ("main", repo.commit) or path not in repo.files:
            self._error(404, "EntryNotFound")
            return
        data = self.hub.wrong.get(path, repo.files[path])
        start = self._start()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("content-range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("content-length", str(len(data) - start))
        self.send_header("etag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("x-repo-commit", repo.commit)
        self.end_headers()
        if self.command != "HEAD":
            self._send_bytes(path, data, start)

    def _start(self) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(asked[1]) if asked and self.hub.ranges else 0

    def _send_bytes(self, path: str, data: bytes, start: int) -> None:
        cuts = self.hub.cut_after.get(path)
        stop = min(len(data), start + cuts.pop(0)) if cuts else len(data)
        hold = self.hub.hold_after.pop(path, None)
        if hold is not None:
            self.wfile.write(data[start : start + hold])
            self.wfile.flush()
            self.hub.served.setdefault(path, []).append((start, start + hold))
            self.hub.holding.set()
            self.hub.ended.wait(60)
            self.close_connection = True
            return
        self.hub.served.setdefault(path, []).append((start, stop))
        self.wfile.write(data[start:stop])
        self.close_connection = stop < len(data)

    def _create(self) -> None:
        if self.headers.get("authorization") != f"Bearer {self.hub.token}":
            self._error(401)
            return
        self.hub.created.append(json.loads(self.body))
        asked = self.hub.created[-1]
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        self._json({"url": f"{self.hub.url}/{name}"})

    def _preupload(self) -> None:
        files = json.loads(self.body)["files"]
        modes = [
            {"path": f["path"], "uploadMode": "lfs" if f["size"] >= LARGE else "regular", "shouldIgnore": False}
            for f in files
        ]
        self._json({"files": modes})

    def _batch(self) -> None:
        asked = json.loads(self.body)["objects"]
        objects = [o | {"actions": {"upload": {"href": f"{self.hub.url}/lfs/{o['oid']}"}}} for o in asked]
        self._json({"transfer": "basic", "objects": objects})

    def _commit(self, name: str) -> None:
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.hub.pushed[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                data = self.hub.large[value["oid"]]
                assert hashlib.sha256(data).hexdigest() == value["oid"]
                self.hub.pushed[value["path"]] = data
        oid = "c" * 40
        self._json({"commitOid": oid, "commitUrl": f"{self.hub.url}/{name}/commit/{oid}", "success": True})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), "application/json")

    def _error(self, status: int, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("x-error-code", code)
        self.send_header("content-length", "0")
        self.end_headers()

    def _send(self, status: int, body: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _sibling(path: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": blob}
    if len(data) >= LARGE:
        entry["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry
