"""`seedbed serve` as people start and stop it: a process with a socket, signals and files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from serving import add_model

from seedbed.cli.main import main
from seedbed.core.artifacts import Library

Start = Callable[..., "Process"]
Ran = tuple[Any, str, str]
ASK = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
ENDLESS = {**ASK, "logit_bias": {str(token): -100 for token in range(6)}, "max_tokens": 450, "n": 2, "stream": True}
LONG = {**ENDLESS, "n": 16, "logprobs": True, "top_logprobs": 20}  # about 15 MB: more than sockets hold unread


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = Library(tmp_path_factory.mktemp("home"))
    add_model(library, "tiny", 5)
    return library.root


@pytest.fixture
def seedbed(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command in this process. Returns its exit code and what it printed."""
    monkeypatch.setenv("SEEDBED_HOME", str(home))

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        printed = capfd.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


class Process:
    """A `seedbed serve --json`, and what it said."""

    def __init__(self, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "seedbed", "serve", "--port", "0", "--cache-gb", "0.01", "--json", *arguments]
        environment = os.environ | {"SEEDBED_HOME": str(home), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.process.stdout
        text = ""
        for line in self.process.stdout:
            text += line
            if line == "}\n":
                break
        self.said: dict[str, Any] = json.loads(text)
        self.url = self.said["url"]

    def client(self, key: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key or self.said['key']}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    started: list[Process] = []

    def make(*arguments: str) -> Process:
        started.append(Process(home, *arguments))
        return started[-1]

    yield make
    for one in started:
        one.process.kill()
        one.process.wait()
    (home / "serve" / "keys.json").unlink(missing_ok=True)


def test_it_drains_when_told_to_stop(start: Start, home: Path) -> None:
    """A reply that is being written ends whole; what comes meanwhile is told to go elsewhere; then it is gone."""
    server = start("tiny")
    client = server.client()
    with client.stream("POST", "/v1/chat/completions", json=ENDLESS) as response:
        lines = response.iter_lines()
        next(lines)
        server.process.send_signal(signal.SIGTERM)
        refused = None
        while refused is None or refused.status_code == 200:  # until the signal has arrived
            refused = server.client().get("/v1/models")
        assert refused.status_code == 503
        assert "retry-after" in refused.headers
        assert server.client().get("/health").json()["status"] == "draining"
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    finishes = [json.loads(line[6:])["choices"][0]["finish_reason"] for line in rest[:-1]]
    assert [finish for finish in finishes if finish] == ["length", "length"]
    assert server.process.wait() == 0
    assert not list((home / "serve" / "running").iterdir())


def test_a_session_starts_with_what_is_printed_and_has_an_end(home: Path) -> None:
    """The curl line works in a shell, the page's address holds a key written nowhere, and a drain is not for ever."""
    environment = os.environ | {"SEEDBED_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "seedbed", "serve", "--port", "0", "--cache-gb", "0.01", "--drain", "0.1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("     -d"):
                break
        done = subprocess.run(["bash", "-c", "".join(lines[-2:])], capture_output=True, text=True)
        assert json.loads(done.stdout)["choices"], done.stderr
        url, _, key = next(line for line in lines if "#key=" in line).split()[-1].partition("/#key=")
        assert httpx.get(url, trust_env=False).text.startswith("<!doctype html>")
        assert httpx.get(f"{url}/v1/models", trust_env=False).status_code == 401
        assert not (home / "serve" / "keys.json").exists()
        narrow = httpx.HTTPTransport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**18)])
        headers = {"Authorization": f"Bearer {key}"}
        client = httpx.Client(base_url=url, headers=headers, timeout=60, transport=narrow)
        with client.stream("POST", "/v1/chat/completions", json=LONG) as response:
            rest = response.iter_lines()
            next(rest)
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0  # the client reads nothing meanwhile, so no server is fast enough to end
            with pytest.raises(httpx.RemoteProtocolError):
                list(rest)
    finally:
        process.kill()
        process.wait()


def test_a_killed_server_loses_nothing_and_its_successor_can_be_stopped(
    start: Start, home: Path, seedbed: Callable[..., Ran]
) -> None:
    """kill -9 right after an answer: keys and responses are there again, the list of servers is clean."""
    key = seedbed("keys", "create", "laptop")[1].strip()
    server = start("tiny")
    assert server.said["key"] == ""
    ask = {"model": "tiny", "input": "Hi", "max_output_tokens": 4}
    found = server.client(key).post("/v1/responses", json=ask).json()
    server.process.kill()
    server.process.wait()
    assert json.loads(seedbed("ps", "--json")[1]) == []
    again = start("tiny")
    assert again.client(key).get(f"/v1/responses/{found['id']}").json() == found
    going_on = again.client(key).post("/v1/responses", json={**ask, "previous_response_id": found["id"]})
    assert going_on.status_code == 200
    [one] = json.loads(seedbed("ps", "--json")[1])
    assert (one["pid"], one["url"], one["models"], one["status"]) == (again.process.pid, again.url, ["tiny"], "ok")
    assert str(again.process.pid) in seedbed("ps")[1]
    reaping = threading.Thread(target=again.process.wait)  # as a shell would
    reaping.start()
    assert seedbed("stop")[0] == 0
    reaping.join()
    assert again.process.returncode == 0
    assert json.loads(seedbed("ps", "--json")[1]) == []
    assert seedbed("stop")[0] == 4


def test_what_was_answered_before_a_kill_is_stored(start: Start, seedbed: Callable[..., Ran]) -> None:
    """kill -9 while four clients get one response after another: each answer that arrived is there again."""
    key = seedbed("keys", "create", "laptop")[1].strip()
    server, answers = start("tiny"), list[dict[str, Any]]()
    enough = threading.Event()

    def ask() -> None:
        with server.client(key) as client, contextlib.suppress(httpx.TransportError):
            while True:
                found = client.post("/v1/responses", json={"model": "tiny", "input": "Hi", "max_output_tokens": 2})
                answers.append(found.json())
                if len(answers) >= 40:
                    enough.set()

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for one in clients:
        one.start()
    enough.wait()
    server.process.kill()
    for one in clients:
        one.join()
    again = start("tiny").client(key)
    for answer in answers:
        assert again.get(f"/v1/responses/{answer['id']}").json() == answer


def test_keys_are_made_listed_and_removed(seedbed: Callable[..., Ran]) -> None:
    key = json.loads(seedbed("keys", "create", "phone", "--json")[1])["key"]
    listed = seedbed("keys", "ls")[1]
    assert "phone" in listed
    assert key not in listed
    assert seedbed("keys", "create", "phone")[0] == 2
    assert seedbed("keys", "rm", "phone", "--yes")[0] == 0
    assert json.loads(seedbed("keys", "ls", "--json")[1]) == []
    assert seedbed("keys", "rm", "phone")[0] == 4


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--no-auth", "--host", "0.0.0.0"), 2),
        (("missing",), 4),
        (("--host", "256.0.0.1"), 5),
        (("--port", "99999"), 2),
    ],
)
def test_what_cannot_be_served_is_said_in_three_lines(
    seedbed: Callable[..., Ran], arguments: tuple[str, ...], code: int
) -> None:
    ended, _, said = seedbed("serve", "--port", "0", *arguments)
    assert ended == code
    assert [line.partition(":")[0] for line in said.strip().splitlines()] == ["error", "why", "fix"]


def test_a_port_in_use_and_an_empty_library_are_said(
    seedbed: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended, _, said = seedbed("serve", "--port", str(taken.getsockname()[1]))
        assert (ended, "cannot listen" in said) == (5, True)
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))
    assert seedbed("serve", "--port", "0")[0] == 4
