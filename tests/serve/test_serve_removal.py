"""A removed key: what it has running ends, and so does what it has waiting; a damaged file of keys lets nobody in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import SMALL, Live

CHAT = "/v1/chat/completions"
LONG = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Hi"}],
    "max_tokens": 900,
    "ignore_eos": True,
    "repetition_guard": False,
    "n": 16,
    "stream": True,
}


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
def test_a_running_stream_of_a_removed_key_ends_with_an_error(start: Callable[..., Live], path: str) -> None:
    live = start(SMALL, ("tiny",))
    body = {key: value for key, value in LONG.items() if path == CHAT or key not in ("messages", "repetition_guard")}
    with live.connect(live.keys.create("gone")) as client:
        wanted = body if path == CHAT else {**body, "prompt": ["Hi"] * 20}
        with client.stream("POST", path, json=wanted) as stream:
            lines = stream.iter_lines()
            next(lines)
            live.keys.remove("gone")
            removed = time.monotonic()
            rest = [line for line in lines if line]
        assert time.monotonic() - removed < 5
        assert json.loads(rest[-2].removeprefix("data: "))["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/models").status_code == 401
    live.until(live.idle)
    live.until(lambda: not any(one.owner for one in live.state.open_requests))  # the one that asks has no owner


def test_the_others_go_on_when_a_key_is_removed(start: Callable[..., Live]) -> None:
    live = start(SMALL, ("tiny",))
    live.keys.create("gone")
    with live.client.stream("POST", CHAT, json={**LONG, "n": 2, "max_tokens": 300}) as stream:
        lines = stream.iter_lines()
        next(lines)
        live.keys.remove("gone")
        rest = [line for line in lines if line]
    assert "error" not in json.loads(rest[-2].removeprefix("data: "))


@pytest.mark.parametrize("text", ["", "{", '{"keys": [{}]}', '{"keys": 5}', "\xff"])
def test_a_damaged_file_of_keys_lets_nobody_in_and_says_so(
    start: Callable[..., Live], tmp_path: Path, text: str
) -> None:
    live = start()
    path = tmp_path / "keys.json"
    sound = path.read_bytes()
    path.write_bytes(text.encode("latin-1"))
    answer = live.client.get("/v1/models")
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text
    assert answer.json()["error"]["code"] == "keys_unreadable"
    path.write_bytes(sound)
    assert live.client.get("/v1/models").status_code == 200
