"""Additions beside frozen integers: gradients as beside the floats that the integers mean, checkpoints without them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from seedbed.kernel.packed import SCHEMES
from seedbed.kernel.quantized_layers import QuantizedEmbedding, QuantizedLinear
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.nn.lora import LowRankLinear, add_low_rank, fold
from seedbed.nn.loss import IGNORE
from seedbed.train.checkpoint import Progress, save_checkpoint
from seedbed.train.engine import TrainingEngine
from seedbed.train.objectives.causal_lm import CausalLM
from seedbed.train.settings import TrainSettings
from seedbed.transform.quantize import quantize

SETTINGS = TrainSettings(steps=3, batch=4, optimizer="adamw", lr=0.01, evaluate_every=0)


def pair(scheme: str) -> tuple[Decoder, Decoder]:
    """A quantized model, and one of floats with the values that its integers mean."""
    config = ModelConfig(96, 64, 2, 4, 2, d_ff=96, max_length=32)
    integers, floats = Decoder(config), Decoder(config)
    integers.initialise(3)
    for name, parameter in integers.named_parameters():  # else a row of the table is exact in the groups of a layer
        if name.endswith("norm.weight"):
            nn.init.uniform_(parameter, 0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    quantize(integers, scheme)
    values = {path: layer.weight for path, layer in integers.named_modules() if isinstance(layer, QuantizedLinear)}
    table = next(layer for layer in integers.modules() if isinstance(layer, QuantizedEmbedding)).weight
    values["embedding"] = table
    stored = {f"{path}.weight": value for path, value in values.items()}
    kept = {key: value for key, value in integers.state_dict().items() if key in floats.state_dict()}
    floats.load_state_dict(kept | stored, strict=False)
    return integers, floats


def batch() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(96, (4, 20), generator=generator)
    labels = torch.where(torch.rand(4, 20, generator=generator) < 0.3, ids.roll(-1, 1), IGNORE)
    return {"ids": ids, "labels": labels}


def gradients(model: Decoder, *, again: bool = False) -> dict[str, Tensor]:
    model.checkpoint_activations = again
    add_low_rank(model, rank=4, alpha=8, seed=0)
    for layer in model.modules():
        if isinstance(layer, LowRankLinear):
            nn.init.normal_(layer.up, std=0.1, generator=torch.Generator().manual_seed(layer.up.numel()))
    CausalLM().terms(model, batch())["loss"].sum.backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", list(SCHEMES))
def test_gradients_are_those_beside_the_floats_that_the_integers_mean(name: str) -> None:
    integers, floats = pair(name)
    found, wanted = gradients(integers), gradients(floats)
    assert found.keys() == wanted.keys()
    assert len(found) == 2 * 7 * 2
    for key, gradient in wanted.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-5, atol=1e-5 * float(gradient.abs().max()))


@pytest.mark.parametrize("fast", [False, True])
def test_recomputed_activations_give_the_same_gradients_bit_for_bit(fast: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        kept, recomputed = (gradients(pair("int4")[0], again=again) for again in (False, True))
    assert kept.keys() == recomputed.keys()
    assert all(torch.equal(kept[key], recomputed[key]) for key in kept)


def test_integers_stay_and_checkpoints_hold_the_additions_alone(tmp_path: Path) -> None:
    model, _ = pair("int8")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    add_low_rank(model, rank=4, alpha=8, seed=0)
    engine = TrainingEngine(model, CausalLM(), SETTINGS)
    losses = [engine.step([batch()], 1.0).loss for _ in range(24)]
    assert losses[-1] < 0.8 * losses[0]
    after = {name.replace(".base.", "."): value for name, value in model.state_dict().items()}
    assert all(torch.equal(after[name], value) for name, value in before.items())
    saved = save_checkpoint(tmp_path, model, engine.optimizers, {}, Progress(step=24))
    additions = sum(p.numel() * 4 for p in model.parameters() if p.requires_grad)
    assert (saved / "model.safetensors").stat().st_size < 1.2 * additions + 5000


def test_folding_rounds_the_layers_again() -> None:
    model, _ = pair("int8")
    add_low_rank(model, rank=4, alpha=8, seed=0)
    engine = TrainingEngine(model, CausalLM(), SETTINGS)
    for _ in range(8):
        engine.step([batch()], 1.0)
    trained = model.eval()(batch()["ids"])[0].detach()
    fold(model)
    assert isinstance(model.blocks[0].get_submodule("mixer.q"), QuantizedLinear)
    folded = model(batch()["ids"])[0].detach()
    assert (folded - trained).abs().max() < 0.05 * trained.abs().max()
