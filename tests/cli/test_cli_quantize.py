"""`seedbed quantize` and `seedbed bench` on a model of the library, and wrong requests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from seedbed.core.artifacts import Library
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.models.store import load_model, save_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def seedbed(tmp_path: Path, invoke: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A library with the model `small`; runs a command line: exit code, standard output, standard error."""
    torch.set_num_threads(1)
    tokenizer = train_tokenizer(["some text"], TokenizerSettings(kind="byte"))
    model = Decoder(ModelConfig(tokenizer.vocab_size, d_model=64, n_layers=2, n_heads=2, max_length=64))
    model.initialise(0)
    with Library(tmp_path).writing("model", name="small") as draft:
        save_model(draft.path, model, tokenizer)
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path))
    return invoke


def test_copies_are_models_of_their_own(seedbed: Run) -> None:
    code, out, err = seedbed("quantize", "small", "--quantization", "int8", "--quantization", "int4", "--json")
    assert code == 0
    assert "quality not measured" in err  # it was trained on nothing
    result, library = json.loads(out), Library()
    for row in result["models"]:
        made = library.get(row["name"])
        assert made.id == row["id"]
        assert library.parents(made)[0].id == result["original"]
        assert load_model(made).quantization == row["quantization"]
    sizes = [row["bytes"] for row in result["models"]]
    assert sizes[1] < sizes[0] < result["bytes"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["small", "--quantization", "int3"], "no quantization 'int3'"),
        (["small", "--quantization", "int8", "--quantization", "int4", "--name", "one"], "one name"),
    ],
)
def test_wrong_requests_are_refused_before_anything_is_made(seedbed: Run, arguments: list[str], message: str) -> None:
    code, _, err = seedbed("quantize", *arguments)
    assert code == 2
    assert message in err
    assert len(Library().all("model")) == 1


def test_a_copy_is_not_quantized_again(seedbed: Run) -> None:
    assert seedbed("quantize", "small", "--no-measure")[0] == 0
    code, _, err = seedbed("quantize", "small-int8")
    assert code == 2
    assert "quantized already" in err


def test_bench_counts_the_weights_that_are_read(seedbed: Run) -> None:
    code, out, _ = seedbed("bench", "small", "--prompt-tokens", "20", "--max-tokens", "4", "--sequences", "2", "--json")
    assert code == 0
    figures = json.loads(out)
    model = load_model(Library().get("small")).model
    assert figures["weight_bytes"] == 4 * sum(parameter.numel() for parameter in model.parameters())
    assert figures["limit"] == figures["bandwidth"] / figures["weight_bytes"]
    assert min(figures[name] for name in ("prefill", "decode", "together", "load_seconds")) > 0
