"""Muon against the singular value decomposition, AdamW against PyTorch's own, schedules against their formulas."""

import math

import pytest
import torch
from small import small_model
from torch import nn

from seedbed.core.config import load
from seedbed.core.errors import ConfigError
from seedbed.models.config import EncoderDecoderConfig, ModelConfig
from seedbed.models.encoder_decoder import EncoderDecoder
from seedbed.train.muon import Muon, orthogonalise
from seedbed.train.optimizers import Optimizers, is_matrix
from seedbed.train.schedule import learning_rate
from seedbed.train.settings import TrainSettings


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16), (3, 20, 30)])
def test_orthogonalise_moves_singular_values_to_one_and_keeps_the_vectors(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalise(matrix)
    projected = u.mT @ result @ v.mT  # diagonal if the singular vectors are kept
    diagonal = projected.diagonal(dim1=-2, dim2=-1)
    assert torch.allclose(projected, torch.diag_embed(diagonal), atol=1e-4)
    kept = s / s.norm(dim=-1, keepdim=True) > 0.05  # five iterations lift singular values above about 1/20
    assert diagonal[kept].min() > 0.6
    assert diagonal[kept].max() < 1.3


def test_muon_equals_pytorchs_muon_in_bfloat16_tolerance() -> None:
    """torch.optim.Muon runs the same iteration in bfloat16: equal to that precision."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    torch.manual_seed(0)
    start = torch.randn(32, 48)
    gradients = [torch.randn(32, 48) for _ in range(4)]
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    mine = Muon([ours], lr=0.1, momentum=0.9, weight_decay=0.1)
    reference = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.1)
    for gradient in gradients:
        for parameter, optimizer in ((ours, mine), (theirs, reference)):
            parameter.grad = gradient.clone()
            optimizer.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() / moved < 0.02


def test_every_parameter_is_trained_by_exactly_one_optimizer() -> None:
    model = small_model()
    optimizers = Optimizers(model, TrainSettings(steps=1))
    trained = [id(p) for part in optimizers.parts for group in part.param_groups for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())
    muon = {id(p) for p in optimizers.parts[0].param_groups[0]["params"]}
    assert muon == {id(p) for n, p in model.named_parameters() if n.startswith("blocks") and p.ndim == 2}


def test_schedules() -> None:
    wsd = TrainSettings(steps=100, warmup=10, decay=0.4)
    assert [learning_rate(s, s / 100, wsd) for s in (0, 4, 9, 30, 60)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    assert learning_rate(80, 0.8, wsd) == pytest.approx(0.5)
    cosine = TrainSettings(steps=100, warmup=0, schedule="cosine", final_lr=0.1)
    for step in (0, 25, 50, 99):
        assert learning_rate(step, step / 100, cosine) == pytest.approx(
            0.1 + 0.45 * (1 + math.cos(math.pi * step / 100))
        )
    linear = TrainSettings(steps=100, warmup=0, schedule="linear")
    assert learning_rate(75, 0.75, linear) == pytest.approx(0.25)


@pytest.mark.parametrize("wrong", [[], ["steps=5", "lr=-1"], ["minutes=-1"], ["steps=5", "batch=4", "micro_batch=3"]])
def test_settings_that_contradict_are_refused(wrong: list[str], tmp_path) -> None:  # type: ignore[no-untyped-def]
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("\n".join(line if "sch" not in line else 'schedule = "cosine"' for line in wrong))
    with pytest.raises(ConfigError):
        load(TrainSettings, recipe, environment={})


def test_matrices_of_both_halves_of_an_encoder_decoder_are_matrices() -> None:
    shape = {"vocab_size": 61, "d_model": 32, "n_layers": 1, "n_heads": 2}
    pair = EncoderDecoder(
        EncoderDecoderConfig(ModelConfig(causal=False, head="none", **shape), ModelConfig(cross=True, **shape))
    )
    found = {name for name, parameter in pair.named_parameters() if is_matrix(name, parameter)}
    layers = {f"{path}.weight" for path, layer in pair.named_modules() if isinstance(layer, nn.Linear)}
    assert found == layers - {"decoder.output.weight"}
