"""Every published family against `transformers`, through files on disk and back.

A tiny random model is saved by `transformers`, read by us, run (whole, padded, step by step), written by us and read by
`transformers`: all outputs are equal to 2e-5 of the largest, in float32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from family_cases import CASES, Case, saved
from family_checks import check, loaded
from transformers import PreTrainedModel

from seedbed.formats.safetensors.shards import write_safetensors
from seedbed.models.config import ModelConfig
from seedbed.models.factory import AnyModel
from seedbed.models.families.registry import FAMILIES, publish, read_published
from seedbed.models.families.weight_mapping import dump

SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id")
NOT_OURS = ("pooler.", "seq_relationship.", "cls.predictions.bias")
"""Parts of their classes that put out nothing here: of a training task, or a bias whose copy is used."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def exported(model: AnyModel, preferred: str, special: dict[str, Any], folder: Path) -> None:
    """Written as the family publishes it, whose config.json says all that ours does, and with the special tokens."""
    family, published = publish(model.config, preferred)
    assert family.name == preferred
    assert read_published(json.loads(json.dumps(published)))[1] == model.config
    write_safetensors(folder, dump(model, family.table(model.config)))
    (folder / "config.json").write_text(json.dumps(special | published), encoding="utf-8")


def reloaded(case: Case, folder: Path) -> PreTrainedModel:
    """What `transformers` makes of our folder: all that it has a use for is there, and nothing else."""
    kind: Any = getattr(transformers, case.model)
    model, info = kind.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    assert not [name for name in info["missing_keys"] if not any(part in name for part in NOT_OURS)]
    return model.eval()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CASES)
def test_a_published_model_says_the_same_here_and_back_there(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model = saved(case, tmp_path / "theirs")
    ours, family, unused = loaded(tmp_path / "theirs")
    assert unused == ()
    check(ours, model)
    special = {name: getattr(model.config, name, None) for name in SPECIAL}
    exported(ours, family, special, tmp_path / "ours")
    check(ours, reloaded(case, tmp_path / "ours"))


def test_every_family_is_tried() -> None:
    tried = {getattr(transformers, case.model).config_class.model_type for case in CASES.values()}
    assert {family.model_types[0] for family in FAMILIES} <= tried


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_classes_that_families_name_exist(family: Any) -> None:
    gone = {"T5WithLMHeadModel"}  # of the first files
    assert [name for name in family.architectures if name not in gone and not hasattr(transformers, name)] == []


@pytest.mark.parametrize("name", ["llama", "gemma2", "gpt-neox", "bloom", "t5", "bart", "BertForMaskedLM"])
def test_a_small_mistake_in_any_weight_would_be_seen(name: str, tmp_path: Path) -> None:
    """Each of our parameters counts: changing one by a thousandth changes what is put out by more than is allowed."""
    model = saved(CASES[name], tmp_path)
    ours, _, _ = loaded(tmp_path)
    keys = (".k.bias",)  # adds the same to all scores of a query, which softmax does not see
    for place, parameter in ours.named_parameters():
        if place.endswith(keys):
            continue
        kept = parameter.data.clone()
        parameter.data = kept * 1.001 + 0.001
        with pytest.raises(AssertionError):
            check(ours, model)
        parameter.data = kept


def test_a_shape_of_our_own_is_published_as_one_that_others_know() -> None:
    config = ModelConfig(61, 48, 2, 4, n_kv_heads=2, max_length=40, qk_norm=True)
    family, _ = publish(config)
    assert family.name == "qwen3"
