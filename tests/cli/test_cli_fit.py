"""`seedbed fit`: a library model, a preset, a folder, a repository; what does not fit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_server import Hub, Repo, running_hub
from published_models import published_folder, tiny_model

from seedbed.core.artifacts import Library
from seedbed.models.store import load_model

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    with running_hub() as found:
        monkeypatch.setenv("HF_ENDPOINT", found.url)
        yield found


def told(invoke: Run, *arguments: str) -> dict:
    code, out, err = invoke("fit", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def test_four_ways_to_name_one_model(invoke: Run, hub: Hub, tmp_path: Path) -> None:
    artifact = tiny_model(Library(), "tiny")
    folder = published_folder(tmp_path)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    hub.repos["team/tiny"] = Repo(files)
    expected = sum(parameter.numel() for parameter in load_model(artifact).model.parameters())
    for name in ("tiny", str(folder), "hf:team/tiny", "team/tiny"):
        found = told(invoke, name)
        assert found["parameters"] == expected, name
        assert [row["precision"] for row in found["precisions"]] == ["float32", "bfloat16", "int8", "int4"]
        assert found["precisions"][0]["weights_bytes"] == 4 * expected
        assert found["recommended"] == "float32"
    assert told(invoke, "hf:team/tiny")["download_bytes"] == sum(map(len, files.values()))
    assert {path.rpartition("/")[2] for _, path, _ in hub.requests if "/resolve/" in path} == {"config.json"}


def test_a_preset_and_the_context(invoke: Run, hub: Hub) -> None:
    """GPT-2: 124,439,808 parameters; keys and values of 12 layers of 768 channels in float32."""
    short, long = told(invoke, "gpt2", "--context", "1"), told(invoke, "gpt2", "--context", "9999")
    assert short["parameters"] == 124_439_808
    assert (short["context"], long["context"]) == (1, 1024)
    difference = long["precisions"][0]["memory_bytes"] - short["precisions"][0]["memory_bytes"]
    assert difference == 1023 * 12 * 2 * 768 * 4
    assert short["parameters_read_per_token"] == 124_439_808 - 1024 * 768  # all but the table of positions


def test_what_fits_nowhere_exits_with_5(invoke: Run, hub: Hub, tmp_path: Path) -> None:
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 10**6,
        "hidden_size": 65536,
        "intermediate_size": 262144,
        "num_hidden_layers": 200,
        "num_attention_heads": 512,
        "rms_norm_eps": 1e-6,
        "max_position_embeddings": 1024,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    code, out, err = invoke("fit", str(tmp_path))
    assert code == 5
    assert "does not fit this machine" in err
    assert "int4" in out
    assert "recommended" not in out


def test_the_table_says_its_protocol(invoke: Run, hub: Hub) -> None:
    code, out, _ = invoke("fit", "gpt2")
    assert code == 0
    assert "measured, best of 6" in out
    assert out.splitlines()[0] == "gpt2: 124.4 M parameters, context 1,024"
    assert out.splitlines()[-1].startswith("recommended: ")


def test_errors(invoke: Run, hub: Hub) -> None:
    hub.repos["team/gguf"] = Repo({"a.gguf": b"GGUF" * 300})
    for name, code, words in (
        ("nothing", 4, "there is no model 'nothing'"),
        ("hf:team/none", 4, "there is no hf:team/none"),
        ("hf:team/gguf", 2, "is not known before it is pulled"),
        ("hf:team/gguf --offline", 1, "cannot reach"),
    ):
        found, _, err = invoke("fit", *name.split())
        assert (found, words in err) == (code, True), err
