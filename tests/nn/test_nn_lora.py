"""Low-rank additions: nothing changes before the first step, only they learn, and folding them in changes nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from seedbed.formats.peft_format import read_adapter, write_additions
from seedbed.models.config import ModelConfig
from seedbed.models.decoder import Decoder
from seedbed.nn.experts import ExpertsConfig
from seedbed.nn.lora import add_low_rank, additions, fold, switched_off
from seedbed.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from seedbed.train.engine import TrainingEngine
from seedbed.train.objectives.causal_lm import CausalLM
from seedbed.train.settings import TrainSettings

IDS = torch.randint(40, (2, 12), generator=torch.Generator().manual_seed(0))


def small() -> Decoder:
    model = Decoder(ModelConfig(40, 32, 2, 4, n_kv_heads=2, d_ff=24, experts=ExpertsConfig(3, 2), qkv_bias=True))
    model.initialise(1)
    torch.manual_seed(2)
    for name, parameter in model.named_parameters():
        if name.endswith((".out.weight", ".down.weight")):
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def trained(model: Decoder, steps: int = 5, engine: TrainingEngine | None = None) -> TrainingEngine:
    engine = engine or TrainingEngine(model, CausalLM(), TrainSettings(steps=5, optimizer="adamw", lr=0.01))
    for _ in range(steps):
        engine.step([{"ids": IDS[:, :-1], "labels": IDS[:, 1:]}], 1.0)
    model.eval()
    return engine


@torch.no_grad()
def logits(model: Decoder) -> torch.Tensor:
    return model(IDS)[0]


def test_additions_begin_as_nothing_learn_alone_and_fold_in(tmp_path: Path) -> None:
    model = small()
    before, weights = logits(model), {name: tensor.clone() for name, tensor in model.state_dict().items()}
    add_low_rank(model, rank=3, alpha=6, seed=0)
    assert torch.equal(logits(model), before)
    trained(model)
    learned = logits(model)
    assert (learned - before).abs().max() > 1e-3
    frozen = {name.replace(".base.", "."): tensor for name, tensor in model.state_dict().items()}
    assert all(torch.equal(frozen[name], tensor) for name, tensor in weights.items())
    parts = additions(model)
    assert len(parts) == 2 * (4 + 3 * 3)  # q, k, v, out, and gate, up, down of three experts; no router
    write_additions(tmp_path, parts, 3, 6)
    read = read_adapter(tmp_path)
    assert read.keys() == parts.keys()
    fold(model)
    assert torch.allclose(logits(model), learned, atol=1e-6)
    assert model.state_dict().keys() == weights.keys()
    assert all(parameter.requires_grad for parameter in model.parameters())
    layer = "blocks.1.mixer.k"
    expected = weights[f"{layer}.weight"] + read[layer].scale * read[layer].up @ read[layer].down
    assert torch.allclose(model.state_dict()[f"{layer}.weight"], expected)


def test_checkpoints_hold_the_additions_alone_and_go_on_exactly(tmp_path: Path) -> None:
    whole, halves = small(), small()
    for model in (whole, halves):
        add_low_rank(model, rank=3, alpha=6, seed=0)
    trained(whole, 5)
    engine = trained(halves, 2)
    saved = save_checkpoint(tmp_path, halves, engine.optimizers, {}, Progress(step=2))
    stored = load_file(saved / "model.safetensors")
    assert {name.rpartition(".")[2] for name in stored} == {"down", "up"}
    again = small()
    add_low_rank(again, rank=3, alpha=6, seed=9)
    engine = TrainingEngine(again, CausalLM(), TrainSettings(steps=5, optimizer="adamw", lr=0.01))
    load_checkpoint(saved, again, engine.optimizers)
    trained(again, 3, engine)
    assert torch.equal(logits(again), logits(whole))


def test_switched_off_is_the_model_it_was() -> None:
    """A reference model for nothing: bit for bit the base inside the block, the trained one before and after it."""
    model = small()
    before = logits(model)
    add_low_rank(model, rank=3, alpha=6, seed=0)
    trained(model)
    learned = logits(model)
    with switched_off(model):
        assert torch.equal(logits(model), before)
        with switched_off(model):
            assert torch.equal(logits(model), before)
        assert torch.equal(logits(model), before)
    assert torch.equal(logits(model), learned)
    assert not torch.equal(learned, before)
