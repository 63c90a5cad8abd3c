"""Sampling as publishers state it: against transformers' own reader, from folders and GGUF files, right or wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader, GGUFWriter
from published_models import published_folder
from transformers import GenerationConfig

from seedbed.app.quantize import quantized_copies
from seedbed.app.transfer import import_published
from seedbed.chat.local import DEFAULT, LocalModel
from seedbed.core.artifacts import Artifact, Library
from seedbed.formats.gguf.file import open_gguf
from seedbed.formats.gguf.model import read_generation
from seedbed.inference.engine_client import end_ids, ends_of, sampling_of_publishers
from seedbed.inference.parameters import Sampling
from seedbed.inference.published_sampling import PublishedSampling, published_sampling
from seedbed.models.store import load_model

STATED = {"temperature": 0.7, "top_k": 20, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.05}


def read(generation: Any, tokens: int = 100) -> PublishedSampling:
    return published_sampling({"generation": generation}, tokens)


def test_it_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    theirs = GenerationConfig(**STATED, do_sample=True, eos_token_id=[7, 9], max_new_tokens=20)
    theirs.save_pretrained(tmp_path)
    found = read(json.loads((tmp_path / "generation_config.json").read_text()))
    again = GenerationConfig.from_pretrained(tmp_path)
    assert found.values == {name: getattr(again, name) for name in STATED}
    assert (found.ends, found.remarks) == ((7, 9), ())
    assert found.over(DEFAULT) == Sampling(**STATED)  # type: ignore[arg-type]


@pytest.mark.parametrize("generation", [{}, {"temperature": None, "eos_token_id": None}, {"max_length": 9}])
def test_without_a_statement_it_is_ours(generation: dict[str, Any]) -> None:
    assert read(generation) == PublishedSampling()
    assert read(generation).over(DEFAULT) == DEFAULT


def test_without_drawing_the_best_token_is_taken() -> None:
    assert read({"do_sample": False, "temperature": 0.9}).values == {"temperature": 0.0}
    assert read({"do_sample": True, "temperature": 0.9}).values == {"temperature": 0.9}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("temperature", -0.1, "temperature = -0.1 is out of range"),
        ("temperature", float("nan"), "temperature = nan is out of range"),
        ("temperature", "hot", "temperature is 'hot', which is no number"),
        ("temperature", True, "temperature is True, which is no number"),
        ("top_p", 1.5, "top_p = 1.5 is out of range"),
        ("top_k", -1, "top_k = -1 is out of range"),
        ("top_k", 20.5, "top_k is 20.5, which is no whole number"),
        ("top_k", [20], r"top_k is \[20\], which is no whole number"),
        ("repetition_penalty", 0, "repetition_penalty = 0 is out of range"),
    ],
)
def test_a_value_that_cannot_be_used_is_left_out_with_a_remark(name: str, value: object, said: str) -> None:
    found = read({"min_p": 0.1, name: value})
    assert found.values == {"min_p": 0.1}
    [remark] = found.remarks
    assert re.match(said, remark), remark


def test_wrong_end_tokens_are_left_out_with_a_remark() -> None:
    found = read({"eos_token_id": [7, 100, -1, "</s>", True]})
    assert found.ends == (7,)
    assert len(found.remarks) == 4
    assert read([1, 2]).remarks == ("it is no JSON object",)


def imported(tmp_path: Path, generation: str) -> Artifact:
    folder = published_folder(tmp_path)
    (folder / "generation_config.json").write_text(generation)
    return import_published(Library(tmp_path / "home"), folder, "mine")[1]


def test_a_folder_s_statement_is_kept_and_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact = imported(tmp_path, json.dumps({**STATED, "top_p": 7, "eos_token_id": 65}))
    assert "left out of how its publishers sample: top_p = 7 is out of range" in capsys.readouterr().err
    loaded = load_model(artifact)
    stated = sampling_of_publishers(loaded)
    assert stated.values == {name: value for name, value in STATED.items() if name != "top_p"}
    assert ends_of(loaded) == end_ids(loaded.tokenizer) | {65}
    assert LocalModel(loaded).sampling == stated.over(DEFAULT)
    assert LocalModel(loaded, sampling=DEFAULT).sampling == DEFAULT  # its owner's choice
    [(_, copy, _)] = quantized_copies(Library(tmp_path / "home"), "mine", ["int8"], measure=False)
    assert sampling_of_publishers(load_model(copy)).values == stated.values


def test_a_reply_ends_at_an_end_token_of_the_publishers(tmp_path: Path) -> None:
    """The token that the model would take best is named as an end: the reply is over before it begins."""
    free = load_model(imported(tmp_path / "free", "{}"))
    [best, *_] = [one.id for one in LocalModel(free).client.stream([66], Sampling(max_tokens=4, temperature=0))]
    assert best not in end_ids(free.tokenizer)
    named = load_model(imported(tmp_path / "named", json.dumps({"eos_token_id": [best]})))
    [token] = LocalModel(named).client.stream([66], Sampling(max_tokens=4, temperature=0))
    assert (token.id, token.finish) == (best, "end")


@pytest.mark.parametrize("damaged", ["{", "[1]", "nonsense", '{"temperature": '])
def test_a_damaged_statement_is_left_out_with_a_remark(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damaged: str
) -> None:
    artifact = imported(tmp_path, damaged)
    assert "generation_config.json is left out: " in capsys.readouterr().err
    assert sampling_of_publishers(load_model(artifact)) == PublishedSampling(ends=(1,))  # its config.json's


def test_a_gguf_file_s_statement_is_read(tmp_path: Path) -> None:
    """Written by the gguf package, in float32 as llama.cpp's converter writes it."""
    writer = GGUFWriter(tmp_path / "x.gguf", "llama")
    for name, value in (("temp", 0.7), ("top_p", 0.95), ("min_p", 0.05), ("penalty_repeat", 1.05)):
        writer.add_float32(f"general.sampling.{name}", value)
    writer.add_int32("general.sampling.top_k", 20)
    writer.add_tensor("x", torch.zeros(1).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fields = {name: field.contents() for name, field in GGUFReader(tmp_path / "x.gguf").fields.items()}
    assert read(read_generation(fields)).values == {**STATED, "top_p": 0.95}
    assert read(read_generation(open_gguf(tmp_path / "x.gguf").metadata)).values == {**STATED, "top_p": 0.95}
