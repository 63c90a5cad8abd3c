"""`seedbed merge` on models of a library: what is made, where it came from, and wrong requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from seedbed.core.artifacts import Library
from seedbed.core.files import sha256_file
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import WEIGHTS, load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import OURS, Tokenizer
from seedbed.tokenizers.train import train_tokenizer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def seedbed(tmp_path: Path, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A library with the models one, two, three of one shape and `wide` of another."""
    tokenizer = train_tokenizer(["some text"], TokenizerSettings(kind="byte"))
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    for place, (name, licence) in enumerate([("one", "MIT"), ("two", "Apache-2.0"), ("three", "MIT"), ("wide", "")]):
        width = 48 if name == "wide" else 32
        model = Decoder(ModelConfig(tokenizer.vocab_size, width, 2, 2, max_length=64))
        for parameter in model.parameters():
            parameter.data.normal_(generator=torch.Generator().manual_seed(place))
        with Library().writing("model", name=name) as draft:
            save_model(draft.path, model, tokenizer)
            draft.licence = licence
    return invoke


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2}))
    path = "base_model.model.blocks.0.mixer.q"
    save_file(
        {f"{path}.lora_A.weight": torch.ones(2, 32), f"{path}.lora_B.weight": torch.ones(32, 2)},
        folder / "adapter_model.safetensors",
    )
    return folder


def query(name: str) -> torch.Tensor:
    return load_file(Library().get(name, "model").file(WEIGHTS))["blocks.0.mixer.q.weight"]


def test_adapters_are_added_with_their_weights(seedbed: Run, adapter: Path) -> None:
    code, out, _ = seedbed("merge", "one", "--adapter", str(adapter), "--name", "tuned", "--json")
    assert code == 0
    torch.testing.assert_close(query("tuned"), query("one") + 2)
    made = Library().get("tuned")
    assert made.id == json.loads(out)["id"]
    assert [parent.id for parent in Library().parents(made)] == [Library().get("one").id]
    assert made.manifest.licence == "MIT"
    digest = sha256_file(adapter / "adapter_model.safetensors")
    assert made.manifest.config["adapters"] == [{"path": str(adapter), "sha256": digest, "weight": 1.0}]
    twice = ("--adapter", str(adapter), "--adapter", str(adapter), "--weights", "0.5,-2")
    assert seedbed("merge", "one", *twice, "--name", "less")[0] == 0
    torch.testing.assert_close(query("less"), query("one") - 3)


def test_models_are_parents_of_what_they_become(seedbed: Run) -> None:
    assert seedbed("merge", "one", "two", "--weights", "0.25,0.75", "--name", "mean")[0] == 0
    torch.testing.assert_close(query("mean"), 0.25 * query("one") + 0.75 * query("two"))
    made = Library().get("mean")
    assert {parent.id for parent in Library().parents(made)} == {Library().get(name).id for name in ("one", "two")}
    assert made.manifest.licence == "Apache-2.0 AND MIT"
    load_model(made)
    assert seedbed("merge", "one", "two", "three", "--name", "soup")[0] == 0
    torch.testing.assert_close(query("soup"), (query("one") + query("two") + query("three")) / 3)


def test_tasks_and_arcs(seedbed: Run) -> None:
    arguments = ("--method", "task", "--base", "one", "--weights", "1,-1", "--name", "tasks")
    assert seedbed("merge", "two", "three", *arguments)[0] == 0
    torch.testing.assert_close(query("tasks"), query("one") + query("two") - query("three"))
    assert len(Library().parents(Library().get("tasks"))) == 3
    assert seedbed("merge", "one", "two", "--method", "slerp", "--weights", "1,0", "--name", "end")[0] == 0
    assert torch.equal(query("end"), query("one"))


@pytest.mark.parametrize("more", [["--method", "task", "--base", "one"], ["one"]])
def test_the_first_models_template_is_kept_and_that_is_said(seedbed: Run, more: list[str]) -> None:
    loaded = load_model(Library().get("two", "model"))
    other = Tokenizer.from_json(json.dumps(loaded.tokenizer.table), {**OURS, "chat_template": "{{ bos_token }}"})
    with Library().writing("model", name="chatty") as draft:
        save_model(draft.path, loaded.model, other)
    code, _, err = seedbed("merge", "chatty", *more, "--name", "both")
    assert code == 0
    assert "those of chatty, the first model named, are kept" in err
    assert load_model(Library().get("both", "model")).tokenizer.chat_template == "{{ bos_token }}"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["one"], 2, "one is the only model"),
        (["one", "two", "--weights", "1"], 2, "1 weights for 2 models"),
        (["one", "two", "--weights", "1,x"], 2, "--weights 1,x"),
        (["one", "two", "--weights", "1,inf"], 2, "not finite"),
        (["one", "two", "three", "--method", "slerp"], 2, "slerp goes from one model"),
        (["one", "two", "--method", "task"], 2, "--base belong together"),
        (["one", "two", "--base", "three"], 2, "--base belong together"),
        (["one", "wide"], 2, "d_model (32 and 48)"),
        (["one", "nobody"], 4, "nobody"),
        (["one", "two", "--adapter", "adapter"], 2, "merged into one model"),
        (["one", "--adapter", "nowhere"], 4, "holds no adapter"),
        (["one", "--adapter", "nowhere", "--weights", "1,2"], 2, "2 weights for 1 adapters"),
    ],
)
def test_wrong_requests_make_nothing(seedbed: Run, arguments: list[str], code: int, message: str) -> None:
    found, _, err = seedbed("merge", *arguments, "--name", "made")
    assert found == code
    assert message in err
    assert len(Library().all("model")) == 4
    assert "made" not in Library().names()


def test_an_adapter_of_a_wider_model(seedbed: Run, adapter: Path) -> None:
    code, _, err = seedbed("merge", "wide", "--adapter", str(adapter), "--name", "made")
    assert code == 2
    assert "(2, 32) does not fit (48, 48)" in err
    assert "made" not in Library().names()
