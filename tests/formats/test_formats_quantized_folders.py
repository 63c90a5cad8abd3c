"""Quantized folders of other programs: read as the floats they mean (as transformers), or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import FineGrainedFP8Config

from seedbed.app.fit import folder_needs
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.formats.exporting import export_huggingface, load_for_export
from seedbed.formats.importing import import_model
from seedbed.models.store import load_model
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.train import train_tokenizer

TOKENIZER = train_tokenizer(["seeds in a bed of seeds"] * 4, TokenizerSettings(kind="byte"))
SHAPE = {
    "vocab_size": TOKENIZER.vocab_size, "hidden_size": 48, "intermediate_size": 72, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "head_dim": 12,
    "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False,
}  # fmt: skip
IDS = torch.tensor([TOKENIZER.encode("seeds in a bed")])


def plain(folder: Path) -> dict[str, Tensor]:
    """Write a random LLaMA; return its weights."""
    torch.manual_seed(3)
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).save_pretrained(folder)
    TOKENIZER.save(folder)
    return load_file(folder / "model.safetensors")


def rewrite(folder: Path, tensors: dict[str, Tensor], **entries: Any) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def quantize(weights: dict[str, Tensor], ending: str, how: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """"""
    stored, meant = dict[str, Tensor](), dict[str, Tensor]()
    for name, weight in weights.items():
        stored[name] = meant[name] = weight
        if "_proj" in name:
            stored[name], scale, meant[name] = how(weight)
            stored[name.removesuffix(".weight") + ending] = scale
    return stored, meant


def logits(folder: Path, library: Library) -> Tensor:
    with torch.no_grad():
        return load_model(import_model(library, folder, "tiny")).model(IDS)[0]


def fp8_blocks(rows: int, columns: int) -> Any:
    def how(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        down, across = -(-weight.shape[0] // rows), -(-weight.shape[1] // columns)
        scale = torch.rand(down, across) * 0.01 + 0.001
        spread = scale.repeat_interleave(rows, 0)[: weight.shape[0]].repeat_interleave(columns, 1)[:, : weight.shape[1]]
        numbers = (weight / spread).clamp(-448, 448).to(torch.float8_e4m3fn)
        return numbers, scale, numbers.float() * spread

    return how


@pytest.mark.parametrize("block", [[12, 8], [24, 24], None], ids=str)
def test_fp8_is_read_as_transformers_does(tmp_path: Path, block: list[int] | None) -> None:
    """Blocks of two sizes, and one scale for a whole tensor."""
    how = fp8_blocks(*block) if block else fp8_blocks(10**6, 10**6)
    weights = plain(tmp_path / "fp8")
    stored, _ = quantize(weights, ".weight_scale_inv", how)
    if not block:
        stored = {name: one.reshape(()) if name.endswith("_inv") else one for name, one in stored.items()}
    entry = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": block}
    rewrite(tmp_path / "fp8", stored, quantization_config=entry)
    ours = logits(tmp_path / "fp8", Library(tmp_path / "home"))
    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "fp8", quantization_config=FineGrainedFP8Config(dequantize=True, weight_block_size=block)
    )
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs(IDS).logits, rtol=1e-5, atol=1e-5)


def int8_rows(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """bitsandbytes' LLM.int8(): the largest magnitude of each row stands for 127."""
    largest = weight.abs().amax(1)
    numbers = (weight / largest[:, None] * 127).round().to(torch.int8)
    return numbers, largest, numbers.float() * largest[:, None] / 127


def grouped(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    parts = weight.unflatten(1, (-1, 12))
    scale = parts.abs().amax(-1) / 127
    numbers = (parts / scale[..., None]).round().to(torch.int8)
    return numbers.flatten(1), scale, (numbers.float() * scale[..., None]).flatten(1)


def channels(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scale = weight.abs().amax(1, keepdim=True) / 448
    numbers = (weight / scale).to(torch.float8_e4m3fn)
    return numbers, scale, numbers.float() * scale


def powers(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One scale a tensor, a power of two stored in 8 bits (DeepSeek-V3.1)."""
    scale = torch.tensor([[2.0**-8]])
    numbers = (weight / scale).to(torch.float8_e4m3fn)
    return numbers, scale.to(torch.float8_e8m0fnu), numbers.float() * scale


SCALED = {
    "bitsandbytes": (int8_rows, ".SCB", {"quant_method": "bitsandbytes", "load_in_8bit": True}),
    "integers in groups": (grouped, ".weight_scale", {"quant_method": "compressed-tensors", "format": "int-quantized"}),
    "FP8 by rows": (channels, ".weight_scale", {"quant_method": "compressed-tensors", "format": "float-quantized"}),
    "fbgemm": (channels, ".weight_scale", {"quant_method": "fbgemm_fp8"}),
    "blocks cut at the edge": (
        fp8_blocks(16, 20),
        ".weight_scale_inv",
        {"quant_method": "fp8", "weight_block_size": [16, 20]},
    ),
    "powers of two": (powers, ".weight_scale_inv", {"quant_method": "fp8", "weight_block_size": [128, 128]}),
}


@pytest.mark.parametrize("kind", SCALED)
def test_numbers_times_scales_are_read_as_the_floats_they_mean(tmp_path: Path, kind: str) -> None:
    how, ending, entry = SCALED[kind]
    weights = plain(tmp_path / "m")
    stored, meant = quantize(weights, ending, how)
    rewrite(tmp_path / "m", stored, quantization_config=entry)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**SHAPE)).eval()
    theirs.load_state_dict(meant)
    library = Library(tmp_path / "home")
    with torch.no_grad():
        torch.testing.assert_close(logits(tmp_path / "m", library), theirs(IDS).logits, rtol=1e-5, atol=1e-5)
    export_huggingface(load_for_export(library.get("tiny")), tmp_path / "out")  # floats, and called so
    assert "quantization_config" not in json.loads((tmp_path / "out/config.json").read_text())


def test_the_precision_that_is_stated_is_kept(tmp_path: Path) -> None:
    stored, _ = quantize(plain(tmp_path / "m"), ".SCB", int8_rows)
    rewrite(tmp_path / "m", stored, dtype="bfloat16", quantization_config=SCALED["bitsandbytes"][2])
    model = load_model(import_model(Library(tmp_path / "home"), tmp_path / "m", "tiny"), dtype="stored").model
    assert model.blocks[0].mixer.q.weight.dtype == torch.bfloat16


REFUSED = [
    {"quant_method": "gptq", "bits": 4},
    {"quant_method": "awq", "bits": 4, "group_size": 128},
    {"quant_method": "mxfp4"},
    {"quant_method": "bitsandbytes", "load_in_4bit": True},
    {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    {"quant_method": "compressed-tensors", "format": "int-quantized", "transform_config": {"config_groups": {"r": {}}}},
    {"quant_method": "hqq"},
    {"group_size": 64, "bits": 4},
]


@pytest.mark.parametrize("entry", REFUSED, ids=str)
def test_other_layouts_are_refused_by_their_name_and_fit_nowhere(tmp_path: Path, entry: dict[str, Any]) -> None:
    rewrite(tmp_path / "m", plain(tmp_path / "m"), quantization_config=entry)
    for use in (
        lambda: import_model(Library(tmp_path / "h"), tmp_path / "m", "m"),
        lambda: folder_needs(tmp_path / "m"),
    ):
        with pytest.raises(UsageError, match="quantized") as refused:
            use()
        assert "quantization_config" in refused.value.why
        assert str(entry.get("quant_method", entry.get("bits"))) in refused.value.why
        assert "GGUF" in refused.value.fix


@pytest.mark.parametrize("ending", [".SCB", ".weight_scale_inv", ".qzeros", ".weight_packed"])
def test_scales_that_config_json_does_not_explain_are_refused(tmp_path: Path, ending: str) -> None:
    weights = plain(tmp_path / "m")
    rewrite(tmp_path / "m", weights | {f"model.layers.0.mlp.up_proj{ending}": torch.ones(72)})
    with pytest.raises(UsageError, match="quantized") as refused:
        import_model(Library(tmp_path / "home"), tmp_path / "m", "m")
    assert ending in refused.value.why


def test_integers_without_scales_are_refused_with_and_without_a_method(tmp_path: Path) -> None:
    stored, _ = quantize(plain(tmp_path / "m"), ".SCB", int8_rows)
    lone = {name: one for name, one in stored.items() if not name.endswith(".SCB")}
    for entries in ({}, {"quantization_config": SCALED["bitsandbytes"][2]}):
        rewrite(tmp_path / "m", lone, **entries)
        with pytest.raises(UsageError, match="quantized"):
            import_model(Library(tmp_path / "home"), tmp_path / "m", "m")


def test_scales_of_another_shape_are_refused(tmp_path: Path) -> None:
    stored, _ = quantize(plain(tmp_path / "m"), ".SCB", int8_rows)
    cut = {name: one[:5] if name.endswith(".SCB") else one for name, one in stored.items()}
    rewrite(tmp_path / "m", cut, quantization_config=SCALED["bitsandbytes"][2])
    with pytest.raises(UsageError, match="quantized") as refused:
        import_model(Library(tmp_path / "home"), tmp_path / "m", "m")
    assert "its scales (5,)" in refused.value.why
