"""`seedbed plan` against published parameter counts and formulas written out here."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from seedbed.core import machine
from seedbed.core.artifacts import Library
from seedbed.models.decoder import Decoder
from seedbed.models.presets import default_model
from seedbed.models.store import save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def seedbed(invoke: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs `seedbed plan` with an empty library: exit code, standard output, standard error."""
    torch.set_num_threads(1)
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    return partial(invoke, "plan")


def plan(seedbed: Run, *arguments: str) -> dict:
    code, out, err = seedbed(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_gpt3_in_float32_is_698_gigabytes(seedbed: Run) -> None:
    code, out, _ = seedbed("gpt3")
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert ["float32", "698", "GB"] in lines
    assert ["bfloat16", "349", "GB"] in lines
    assert ["total", "174,604,259,328", "100.0%"] in lines


@pytest.mark.parametrize(
    ("name", "vocab", "positions", "width", "layers", "final"),
    [
        ("gpt1", 40478, 512, 768, 12, 0),
        ("gpt2", 50257, 1024, 768, 12, 1),
        ("gpt2-xl", 50257, 1024, 1600, 48, 1),
        ("gpt3", 50257, 2048, 12288, 96, 1),
    ],
)
def test_gpt_parameters_by_kind(
    seedbed: Run, name: str, vocab: int, positions: int, width: int, layers: int, final: int
) -> None:
    """Counted by hand: four attention matrices, two of 4 d in the feed-forward layer, two norms of gain and bias."""
    assert plan(seedbed, name)["parameters"] == {
        "embedding": (vocab + positions) * width,
        "attention": layers * 4 * width**2,
        "recurrent": 0,
        "head": 0,
        "feed-forward": layers * 8 * width**2,
        "norm": (2 * layers + final) * 2 * width,
        "bias": layers * (4 + 4 + 1) * width,
        "total": (vocab + positions) * width + layers * (12 * width**2 + 13 * width) + final * 2 * width,
    }


def test_llama_has_the_published_total(seedbed: Run) -> None:
    assert plan(seedbed, "llama-7b")["parameters"]["total"] == 6_738_415_616


def test_bytes_memory_flops_and_time_follow_from_the_counts(seedbed: Run) -> None:
    found = plan(seedbed, "--depth", "3", "--vocab-size", "1000", "--context", "64", "--batch", "2", "--tokens", "5000")
    total, layers, width, context = found["parameters"]["total"], 3, 192, 64
    assert found["weight_bytes"] == {n: total * size for n, size in zip(BYTES, (4, 2, 1, 0.5), strict=True)}
    memory = found["training"]["memory_bytes"]
    assert memory["weights"] == memory["gradients"] == 4 * total
    assert memory["optimizer (AdamW)"] == 8 * total
    assert memory["activations"] == 2 * context * width * layers * 34 * 2  # twice the bytes of 16-bit values
    assert memory["total"] == sum(size for use, size in memory.items() if use != "total")
    matrices = total - found["parameters"]["norm"]
    forward = 2 * matrices + 2 * layers * width * context
    assert found["flops_per_token"] == {"training": 3 * forward, "generation": forward}
    assert found["training"]["tokens"] == 5000
    time = found["time"]
    assert time["tokens_per_second"] == pytest.approx(
        found["machine"]["matmul_flops"] * time["assumed_utilisation"] / (3 * forward)
    )
    assert time["seconds"] == pytest.approx(5000 / time["tokens_per_second"])
    assert time["days"] == pytest.approx(time["seconds"] / 86400)


BYTES = ("float32", "bfloat16", "int8", "int4")


def test_depth_is_the_one_dial_and_text_is_twenty_tokens_a_parameter(seedbed: Run) -> None:
    found = plan(seedbed, "--depth", "2")
    shape = found["model"]
    assert (shape["n_layers"], shape["d_model"], shape["vocab_size"], shape["max_length"]) == (2, 128, 4096, 512)
    assert found["training"]["tokens"] == 20 * found["parameters"]["total"]
    assert found["training"]["batch"] == 16


def test_a_stored_model_by_name_and_by_id(seedbed: Run, tmp_path: Path) -> None:
    library, tokenizer = Library(tmp_path / "home"), train_tokenizer(["text"], TokenizerSettings(kind="byte"))
    model = Decoder(default_model(1, tokenizer.vocab_size, 32))
    with library.writing("model", name="mine") as draft:
        save_model(draft.path, model, tokenizer)
    by_name, by_id = (plan(seedbed, reference) for reference in ("mine", draft.result.id[:10]))
    assert by_name["parameters"]["total"] == sum(parameter.numel() for parameter in model.parameters())
    assert by_name["model"] == by_id["model"]
    code, _, err = seedbed("mien")
    assert code == 4
    assert "did you mean `mine`?" in err
    (draft.result.path / "config.json").write_text("{")
    code, _, err = seedbed("mine")
    assert code == 1
    assert "is damaged" in err


def recipe(model: str, settings: str) -> str:
    """A recipe with a tokenizer of 300 pieces and one training stage."""
    tokenizer = '[[stage]]\nkind = "tokenizer"\nsettings.vocab_size = 300'
    train = '[[stage]]\nkind = "train"\nobjective = "causal_lm"\nsource = "packed"'
    return f"{tokenizer}\n{train}\n[stage.model]\n{model}\n[stage.settings]\n{settings}\n"


@pytest.mark.parametrize(
    ("length", "tokens"),
    [
        ("steps = 10\nbatch = 3", 10 * 3 * 32),
        ("tokens = 777", 777),
        ("minutes = 2", None),
        ("epochs = 1", None),
    ],
)
def test_a_recipe_brings_its_shape_and_its_length(
    seedbed: Run, tmp_path: Path, length: str, tokens: int | None
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe("depth = 1\ncontext = 32", length))
    code, out, err = seedbed(str(path), "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["model"]["vocab_size"], found["model"]["max_length"]) == (300, 32)
    if tokens is not None:
        assert found["training"]["tokens"] == tokens
    elif "minutes" in length:
        assert found["time"]["seconds"] == pytest.approx(120, rel=0.01)
    else:
        assert found["training"]["tokens"] == 20 * found["parameters"]["total"]
        assert "20 tokens a parameter are assumed" in err
    assert plan(seedbed, str(path), "--tokens", "5", "-q")["training"]["tokens"] == 5


def test_a_recipe_is_planned_by_the_name_that_train_takes(seedbed: Run) -> None:
    shipped = Path(__file__).parents[2] / "recipes" / "quickstart.toml"
    by_name, by_path = plan(seedbed, "quickstart"), plan(seedbed, str(shipped))
    assert by_name["target"] == "quickstart"
    assert {name: by_name[name] for name in ("model", "parameters")} == {
        name: by_path[name] for name in ("model", "parameters")
    }
    assert by_name["training"]["batch"] == by_path["training"]["batch"]
    code, _, err = seedbed("lora")
    assert (code, "no model called 'smol'" in err) == (4, True)  # the one that it fine-tunes


def test_memory_in_flight_is_that_of_a_micro_batch(seedbed: Run, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(recipe("depth = 4", "steps = 10\nbatch = 8\nmicro_batch = 2"))
    found = plan(seedbed, str(path))
    assert found["training"]["batch"] == 2
    assert found["training"]["tokens"] == 10 * 8 * 512


def test_check_refuses_what_does_not_fit_after_showing_it(seedbed: Run) -> None:
    code, out, err = seedbed("gpt3", "--check")
    assert code == 5
    assert "698 GB" in out
    assert err.startswith("error: training gpt3 does not fit\nwhy: it needs 5.4 TB of memory with a batch of 16")
    assert seedbed("gpt3")[0] == 0
    assert seedbed("--depth", "1", "--check", "--batch", "1")[0] == 0
    assert machine.memory_bytes() < 5e12


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "there is nothing to plan"),
        (["--vocab-size", "100"], 2, "there is nothing to plan"),
        (["gpt2", "--depth", "3"], 2, "gpt2 has a shape of its own"),
        (["gpt2", "--context", "99"], 2, "gpt2 has a shape of its own"),
        (["gtp2"], 4, "did you mean `gpt2`?"),
        (["nothing.toml"], 4, "there is no recipe 'nothing.toml'"),
        (["nothing"], 4, "there is no preset, recipe or model 'nothing'"),
        (["--depth", "2", "--batch", "0"], 2, "0 is not in the range"),
    ],
)
def test_wrong_input_is_three_lines(seedbed: Run, arguments: list[str], code: int, message: str) -> None:
    found, out, err = seedbed(*arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "why", "fix"]


@pytest.mark.parametrize("command", [("plan", "reader"), ("train", "reader", "--dry-run"), ("train", "reader")])
def test_a_recipe_whose_open_model_is_not_pulled_is_refused_before_anything_is_made(
    seedbed: Run, invoke: Run, command: tuple[str, ...]
) -> None:
    code, out, err = invoke(*command)
    assert (code, out) == (4, "")
    assert "fix: run `seedbed pull smollm2` first" in err
    assert not Library().all()
