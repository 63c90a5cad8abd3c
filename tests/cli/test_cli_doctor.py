"""`seedbed doctor`: a sound library, and one with every kind of damage it looks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import running_hub
from published_models import tiny_model

from seedbed import __version__
from seedbed.core.artifacts import Library

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Library:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SEEDBED_KERNEL", "torch")  # compiling it is another test's business
    return Library()


def found(invoke: Run, *arguments: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    code, out, _ = invoke("doctor", "--json", *arguments)
    lines: dict[str, list[dict[str, str]]] = {}
    for line in json.loads(out):
        lines.setdefault(line["what"], []).append(line)
    return code, lines


def test_a_sound_library(invoke: Run, library: Library) -> None:
    tiny_model(library, "tiny")
    code, lines = found(invoke, "--verify", "--offline")
    assert code == 0
    assert {
        line["state"] for name in ("Python", "PyTorch", "library", "names", "artifacts") for line in lines[name]
    } == {"ok"}
    assert lines["seedbed"][0]["found"] == __version__
    assert lines["artifacts"][0]["found"] == "1 whole (hashed)"
    assert lines["kernel"][0]["state"] == "warn"
    assert "offline" in lines["hub"][0]["found"]
    table = invoke("doctor", "--offline")[1].splitlines()
    assert table[1].split() == ["ok", "seedbed", __version__]
    assert any(line.startswith("warn: kernel: unset it") for line in table)


def test_a_name_that_points_nowhere(invoke: Run, library: Library) -> None:
    artifact = tiny_model(library, "tiny")
    (library.root / "refs" / "gone").write_text("f" * 64)
    code, lines = found(invoke, "--offline")
    assert code == 1
    [line] = [line for line in lines["name"] if line["state"] == "problem"]
    assert "gone points to no artifact: ffffffffffff" in line["found"]
    assert "`seedbed rm gone`" in line["fix"]
    assert library.get("tiny").id == artifact.id


def test_a_changed_byte_is_found_when_files_are_hashed(invoke: Run, library: Library) -> None:
    artifact = tiny_model(library, "tiny")
    data = bytearray(artifact.file("model.safetensors").read_bytes())
    data[-1] ^= 1
    artifact.file("model.safetensors").write_bytes(data)
    states = {}  # remembered as right, as after damage that the file system did not see
    for name in artifact.manifest.files:
        stat = artifact.file(name).stat()
        states[name] = [stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    (artifact.path / "verified.json").write_text(json.dumps(states))
    artifact.verify()
    assert found(invoke, "--offline")[0] == 0
    code, lines = found(invoke, "--verify", "--offline")
    assert (code, lines["artifact"][0]["state"]) == (1, "problem")
    assert "model.safetensors" in lines["artifact"][0]["found"]


def test_a_manifest_that_cannot_be_read(invoke: Run, library: Library) -> None:
    artifact = tiny_model(library, "tiny")
    (artifact.path / "manifest.json").write_text("{")
    code, lines = found(invoke, "--offline")
    assert (code, len(lines["artifact"])) == (1, 1)
    (artifact.path / "manifest.json").unlink()
    code, lines = found(invoke, "--offline")
    assert "manifest" in lines["artifact"][0]["found"]


def test_leftovers_are_named_with_their_size(invoke: Run, library: Library) -> None:
    for folder in ("model/.removed-1", "model/..draft-1-a.x", "pulls/team--tiny--abc"):
        (library.root / folder).mkdir(parents=True)
        (library.root / folder / "file").write_bytes(bytes(5000))
    code, lines = found(invoke, "--offline")
    assert code == 0
    assert lines["leftovers"][0]["found"] == "2 of stopped programs, 10.0 kB"
    assert lines["pull"][0]["found"] == "team--tiny--abc is not finished, 5.0 kB"


def test_a_library_that_cannot_be_made(invoke: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "file" / "home"))
    code, lines = found(invoke, "--offline")
    assert (code, lines["library"][0]["state"]) == (1, "problem")


def test_the_hub_is_asked_unless_offline(invoke: Run, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        code, lines = found(invoke)
        assert (code, lines["hub"][0]["state"]) == (0, "ok")
        assert "hub answers" not in lines["hub"][0]["found"]
        hub.status["/api/models"] = 503
        code, lines = found(invoke)
        assert (code, lines["hub"][0]["state"]) == (0, "warn")
        assert "status 503" in lines["hub"][0]["found"]
        before = len(hub.requests)
        found(invoke, "--offline")
        assert len(hub.requests) == before
