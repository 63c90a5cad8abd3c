"""What cannot be read says so: unknown families, features our blocks lack, values of the wrong kind or size, tensors
that are missing or have another shape. Nothing hangs, nothing large is made, and no other error comes out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from family_cases import CASES, Case, Edit, Settings, new_config, rewrite, rope, saved
from family_checks import loaded
from torch import Tensor

from seedbed.core.errors import CorruptError, SeedbedError, UsageError
from seedbed.models.config import EncoderDecoderConfig, ModelConfig
from seedbed.models.factory import skeleton
from seedbed.models.families.registry import FAMILIES, find_family, publish, read_published
from seedbed.models.families.tied_embeddings import resolve_tied

Tensors = dict[str, Tensor]
BASE = {
    "model_type": "llama", "vocab_size": 61, "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 40,
}  # fmt: skip


def why(error: SeedbedError) -> str:
    return f"{error.what} {error.why}"


@pytest.mark.parametrize(
    ("kind", "nearest"), [("lama", "llama"), ("gpt_neoxx", "gpt_neox"), ("mistral3", "mistral"), ("qwen4", "qwen3")]
)
def test_an_unknown_family_names_the_nearest(kind: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=kind) as raised:
        find_family({"model_type": kind})
    assert f"the nearest known one is {nearest}" in raised.value.why
    assert "bert" in raised.value.why


@pytest.mark.parametrize("config", [{}, {"model_type": None}, {"model_type": ["llama"]}, [], "llama", None])
def test_a_config_without_a_family(config: Any) -> None:
    with pytest.raises(UsageError):
        read_published(config)


INEXPRESSIBLE: dict[str, tuple[str, Settings, str]] = {
    "another rotary scaling": ("llama", rope(rope_type="dynamic", factor=2.0), "dynamic"),
    "another activation": ("llama", {"hidden_act": "mish"}, "mish"),
    "another class": ("llama", {"architectures": ["LlamaForMultipleChoice"]}, "LlamaForMultipleChoice"),
    "another kind of layer": ("qwen2-windows", {"layer_types": ["chunked_attention"] * 3}, "layer_types"),
    "layers of another number": ("qwen2-windows", {"layer_types": ["full_attention"] * 2}, "layer_types"),
    "a decoder that sees everything": ("gemma3", {"use_bidirectional_attention": True}, "bidirectional"),
    "narrow embeddings": ("opt", {"word_embed_proj_dim": 24}, "24 channels"),
    "scores divided by the layer's number": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "inverse_layer"),
    "clipped queries": ("olmo", {"clip_qkv": 8.0}, "clip_qkv"),
    "two vocabularies": ("marian", {"decoder_vocab_size": 50}, "vocabularies of their own"),
    "an encoder as a decoder": ("BertForMaskedLM", {"is_decoder": True}, "is_decoder"),
    "relative positions": ("BertForMaskedLM", {"position_embedding_type": "relative_key"}, "relative_key"),
    "another head": ("RobertaForMaskedLM", {"hidden_act": "relu"}, "another activation"),
    "another feed-forward layer": ("t5", {"feed_forward_proj": "mixed-relu"}, "mixed-relu"),
    "heads that do not share": ("llama", {"num_attention_heads": 5, "num_key_value_heads": 5, "head_dim": None}, "5"),
    "keys for no query": ("llama", {"num_key_value_heads": 3}, "n_kv_heads"),
    "factors of another number": ("phi3-long", rope(rope_type="longrope", long_factor=[1.0], short_factor=[1.0]), "6"),
}  # fmt: skip


@pytest.mark.parametrize("name", INEXPRESSIBLE)
def test_what_our_blocks_cannot_do_is_named(name: str) -> None:
    case, change, word = INEXPRESSIBLE[name]
    with pytest.raises(UsageError) as raised:
        read_published(config_of(CASES[case]) | change)
    assert word in why(raised.value)


WRONG: list[Any] = [
    None, "many", "8", True, -1, 0, 1.5, 2**40, 10**400, float("nan"), [], {}, [[0, "a"]],
    {"rope_type": "yarn", "factor": "x"}, {"full_attention": 3},
]  # fmt: skip


def config_of(case: Case) -> Settings:
    """What is written to config.json."""
    config: Settings = json.loads(new_config(case).to_json_string(use_diff=False))
    return config


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", [family.name for family in FAMILIES])
def test_any_wrong_value_is_refused_or_harmless(name: str) -> None:
    """Every entry of every family's config.json is replaced with values of all kinds and sizes.

    Code that looped over a size it was given, or made something of it, would not come back.
    """
    config = next(config for config in map(config_of, CASES.values()) if find_family(config).name == name)
    names, before = [f"tensor.{number}" for number in range(300)], read_published(config)[1]
    refused = 0
    for key in config:
        for value in WRONG:
            try:
                family, made = read_published(config | {key: value})
                if made != before:
                    skeleton(resolve_tied(family, made, names, lambda a, b: True))
            except SeedbedError:
                refused += 1
    assert refused > 5 * len(WRONG)


@pytest.mark.parametrize("key", ["num_hidden_layers", "num_experts"])
def test_more_layers_than_there_are_tensors_are_refused_before_they_are_made(key: str) -> None:
    config = config_of(CASES["qwen3-moe"])
    family, made = read_published(config | {key: 9_000, "mlp_only_layers": []})
    with pytest.raises(CorruptError, match="does not belong"):
        resolve_tied(family, made, ["a"] * 200, lambda a, b: True)


def test_sizes_that_no_machine_has_are_refused() -> None:
    for key in ("hidden_size", "vocab_size", "num_hidden_layers", "intermediate_size", "max_position_embeddings"):
        with pytest.raises(UsageError):
            read_published(BASE | {key: 2**40})


def missing(config: Settings, tensors: Tensors) -> None:
    del tensors["model.layers.1.mlp.up_proj.weight"]


def no_output(config: Settings, tensors: Tensors) -> None:
    del tensors["lm_head.weight"]


def other_shape(config: Settings, tensors: Tensors) -> None:
    tensors["model.layers.2.self_attn.q_proj.weight"] = torch.ones(48, 47)


def other_vocabulary(config: Settings, tensors: Tensors) -> None:
    config["vocab_size"] = 62


def other_width(config: Settings, tensors: Tensors) -> None:
    config["hidden_size"] = 64


def flat(config: Settings, tensors: Tensors) -> None:
    tensors["model.norm.weight"] = torch.tensor(1.0)


BROKEN: dict[str, tuple[str, Edit, str]] = {
    "a tensor is missing": ("llama", missing, "model.layers.1.mlp.up_proj.weight"),
    "the output embedding is missing": ("llama", no_output, "lm_head.weight"),
    "another shape": ("llama", other_shape, "(48, 47)"),
    "another vocabulary": ("llama", other_vocabulary, "(61, 48)"),
    "another width": ("llama", other_width, "(61, 48)"),
    "no shape": ("llama", flat, "model.norm.weight"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_tensors_that_do_not_fit(name: str, tmp_path: Path) -> None:
    case, edit, word = BROKEN[name]
    saved(CASES[case], tmp_path)
    rewrite(tmp_path, edit)
    with pytest.raises(CorruptError) as raised:
        loaded(tmp_path)
    assert word in why(raised.value)


@pytest.mark.parametrize(("case", "change"), [("phi3", {"intermediate_size": 50}), ("gpt-neox", {"hidden_size": 44})])
def test_fused_tensors_that_do_not_fit(case: str, change: Settings, tmp_path: Path) -> None:
    saved(CASES[case], tmp_path)
    rewrite(tmp_path, lambda config, tensors: config.update(change))
    with pytest.raises(SeedbedError):
        loaded(tmp_path)


def test_an_unused_tensor_is_reported(tmp_path: Path) -> None:
    saved(CASES["llama"], tmp_path)
    rewrite(tmp_path, lambda config, tensors: tensors.update({"model.extra.weight": torch.ones(2)}))
    assert loaded(tmp_path)[2] == ("model.extra.weight",)


def test_halves_with_tables_of_their_own_are_refused(tmp_path: Path) -> None:
    saved(CASES["bart"], tmp_path)
    rewrite(tmp_path, lambda config, tensors: tensors.update({"model.encoder.embed_tokens.weight": torch.ones(61, 48)}))
    with pytest.raises(UsageError, match="differ"):
        loaded(tmp_path)


UNPUBLISHABLE = {
    "recurrent layers": ModelConfig(61, 48, 2, 4, mixers=("lstm", "attention")),
    "a final norm too many": ModelConfig(61, 48, 2, 4, norm_place="post"),
    "an activation": ModelConfig(61, 48, 2, 4, activation="tanh"),
    "T5 without distances": EncoderDecoderConfig(),
}


@pytest.mark.parametrize("name", UNPUBLISHABLE)
def test_a_shape_that_no_family_has_is_not_published(name: str) -> None:
    with pytest.raises(UsageError, match="no published family"):
        publish(UNPUBLISHABLE[name])
