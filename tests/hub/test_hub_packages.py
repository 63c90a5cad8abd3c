"""Package indexes and wheels that lie about their sizes: what they send is counted as it unpacks."""

from __future__ import annotations

import gzip
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import zstandard

from seedbed.core.errors import CorruptError
from seedbed.hub import package_index, wheel_models
from seedbed.hub.hub_errors import HubError
from seedbed.hub.package_index import PackageIndex
from seedbed.hub.pip_settings import PipSettings
from seedbed.hub.repository import read_address
from seedbed.hub.wheel_models import find_model

PAGE = json.dumps({"files": [{"url": "carrier-1.0-py3-none-any.whl", "size": 7}]}).encode()


@contextmanager
def answering(body: bytes, packing: str) -> Iterator[str]:
    """An index that answers every question so."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "application/vnd.pypi.simple.v1+json")
            self.send_header("content-length", str(len(body)))
            if packing:
                self.send_header("content-encoding", packing)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def find(url: str) -> str:
    return PackageIndex(PipSettings(indexes=(url,))).find(read_address("pypi:carrier")).filename


@pytest.mark.parametrize(("body", "packing"), [(PAGE, ""), (gzip.compress(PAGE), "GZip")])
def test_a_page_is_read_packed_or_not(body: bytes, packing: str) -> None:
    with answering(body, packing) as url:
        assert find(url) == "carrier-1.0-py3-none-any.whl"


@pytest.mark.parametrize(
    ("body", "packing", "why"),
    [
        (gzip.compress(b" " * 4_000_000), "gzip", "more than 1,000,000 bytes"),
        (b" " * 4_000_000, "", "more than 1,000,000 bytes"),
        (zstandard.compress(b" " * 4_000_000), "zstd", "not asked for"),
        (gzip.compress(gzip.compress(PAGE)), "gzip, gzip", "not asked for"),
    ],
)
def test_a_page_that_unpacks_to_much_is_refused(
    body: bytes, packing: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_index, "_MAX_PAGE", 1_000_000)
    with answering(body, packing) as url, pytest.raises(HubError) as caught:
        find(url)
    assert why in caught.value.why


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return path


@pytest.mark.parametrize("twin", ["M/Config.json", "m/CONFIG.JSON", "m/\uff43onfig.json"])
def test_names_that_are_one_on_some_disks_are_refused(tmp_path: Path, twin: str) -> None:
    path = archive(tmp_path / "a.whl", {"m/model.safetensors": b"x", "m/config.json": b"{}", twin: b"{}"})
    with pytest.raises(CorruptError, match="wheel") as caught:
        find_model(path, read_address("pypi:carrier"))
    assert "two files of one name" in caught.value.why


def test_an_index_of_shards_is_read_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheel_models, "_MAX_INDEX", 1000)
    path = archive(tmp_path / "a.whl", {"m/model.safetensors.index.json": b" " * 5000, "m/config.json": b"{}"})
    with pytest.raises(CorruptError, match="damaged") as caught:
        find_model(path, read_address("pypi:carrier"))
    assert "more than 1,000 bytes" in caught.value.why
