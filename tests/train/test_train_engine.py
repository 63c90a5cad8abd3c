"""The engine's arithmetic: accumulation, overfitting, decay, clipping, failures."""

import math

import pytest
import torch
from small import pattern, small_model
from torch import Tensor, nn

from seedbed.core.errors import TrainingError
from seedbed.nn.loss import IGNORE, token_loss
from seedbed.train.engine import TrainingEngine
from seedbed.train.loop import split_batch
from seedbed.train.objectives.causal_lm import CausalLM
from seedbed.train.settings import TrainSettings
from seedbed.train.sources.packed import PackedTokens


def ragged_batch() -> dict[str, Tensor]:
    """Four sequences with very different numbers of labels, as fine-tuning has."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(61, (4, 16), generator=generator)
    labels = torch.randint(61, (4, 16), generator=generator)
    for row, keep in enumerate((1, 16, 5, 9)):
        labels[row, keep:] = IGNORE
    return {"ids": ids, "labels": labels}


@pytest.mark.parametrize("size", [1, 2])
def test_micro_batches_equal_one_batch(size: int) -> None:
    """Token-exact: with ragged masks the mean of the micro-batches' means would be another gradient."""
    settings = TrainSettings(steps=1)
    whole, pieces = small_model(), small_model()
    for model, micro in ((whole, 0), (pieces, size)):
        engine = TrainingEngine(model, CausalLM(), settings)
        for part in split_batch(ragged_batch(), micro):
            engine._backward(part, {"tokens": 31})
    for (name, a), b in zip(whole.named_parameters(), pieces.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, atol=1e-6 * float(a.grad.abs().max())), name


def test_accumulated_steps_report_the_same_run() -> None:
    def losses(size: int) -> list[float]:
        engine = TrainingEngine(small_model(), CausalLM(), TrainSettings(steps=1))
        results = [engine.step(split_batch(ragged_batch(), size), 1.0) for _ in range(5)]
        assert all(result.weights == {"tokens": 31} for result in results)
        return [result.loss for result in results]

    assert losses(1) == pytest.approx(losses(0), rel=1e-4)


def test_the_gradient_is_that_of_the_mean_over_tokens() -> None:
    model, batch = small_model(), ragged_batch()
    logits, _ = model(batch["ids"])
    nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORE).backward()
    wanted = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    model.zero_grad()
    engine = TrainingEngine(model, CausalLM(), TrainSettings(steps=1))
    engine._backward(batch, {"tokens": 31})
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, wanted[name], atol=1e-6), name


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_overfits_one_batch(optimizer: str) -> None:
    model = small_model()
    batch = PackedTokens(pattern(), 16, 4, seed=0).next()
    lr = 0.02 if optimizer == "muon" else 0.003
    engine = TrainingEngine(model, CausalLM(), TrainSettings(steps=1, optimizer=optimizer, lr=lr))  # type: ignore[arg-type]
    first = engine.step([batch], 1.0).loss
    for _ in range(150):
        last = engine.step([batch], 1.0).loss
    assert first == pytest.approx(math.log(61), rel=0.05)
    assert last < 0.01


def test_weight_decay_shrinks_matrices_as_its_formula_says() -> None:
    """With one plain AdamW step, decay multiplies by 1 - lr·wd."""
    batch = ragged_batch()
    base, decayed = small_model(), small_model()
    TrainingEngine(base, CausalLM(), TrainSettings(steps=1, optimizer="adamw", lr=0.01, clip=0)).step([batch], 1.0)
    with_decay = TrainSettings(steps=1, optimizer="adamw", lr=0.01, clip=0, weight_decay=0.5)
    TrainingEngine(decayed, CausalLM(), with_decay).step([batch], 1.0)
    name = "blocks.0.mixer.q.weight"
    before = small_model().get_parameter(name)
    difference = base.get_parameter(name) - decayed.get_parameter(name)
    assert torch.allclose(difference, 0.01 * 0.5 * before, atol=1e-7)


def test_l1_adds_the_gradient_of_the_sum_of_absolute_matrix_weights() -> None:
    """Autograd is the oracle, of the mean loss of two micro-batches and l1·Σ|w|; L1 comes once a step, not a batch."""
    model, reference, whole = small_model(), small_model(), ragged_batch()
    batches = [{name: rows[half] for name, rows in whole.items()} for half in (slice(2), slice(2, 4))]
    engine = TrainingEngine(model, CausalLM(), TrainSettings(steps=1, l1=0.3, clip=0))
    tokens = sum(CausalLM().weights(batch)["tokens"] for batch in batches)
    for batch in batches:
        engine._backward(batch, {"tokens": tokens})
    engine._gradient_norm()
    loss = sum(CausalLM().terms(reference, batch)["loss"].sum for batch in batches) / tokens
    matrices = [p for name, p in reference.named_parameters() if name.startswith("blocks") and p.ndim == 2]
    (loss + 0.3 * sum(matrix.abs().sum() for matrix in matrices)).backward()
    for (name, ours), theirs in zip(model.named_parameters(), reference.parameters(), strict=True):
        assert torch.allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6), name


def test_clipping_scales_the_gradient_to_the_limit_and_reports_the_norm_before() -> None:
    def gradient(clip: float) -> tuple[float, Tensor]:
        model = small_model()
        engine = TrainingEngine(model, CausalLM(), TrainSettings(steps=1, clip=clip))
        engine._backward(ragged_batch(), {"tokens": 31})
        reported = engine._gradient_norm()
        return reported, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    (whole, unclipped), (reported, clipped) = gradient(0.0), gradient(0.01)
    assert whole == pytest.approx(float(unclipped.norm()), rel=1e-5)
    assert reported == pytest.approx(whole, rel=1e-6)
    assert float(clipped.norm()) == pytest.approx(0.01, rel=1e-4)
    assert torch.allclose(clipped, unclipped * (0.01 / whole), rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_changes_nothing(poison: float) -> None:
    model = small_model()
    engine = TrainingEngine(model, CausalLM(), TrainSettings(steps=1))
    engine.step([ragged_batch()], 1.0)
    with torch.no_grad():
        model.blocks[0].feedforward.up.weight[0, 0] = poison
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(TrainingError, match="not finite") as caught:
        engine.step([ragged_batch()], 1.0, "at step 17 (epoch 0, window 3 of 9)")
    assert "at step 17 (epoch 0, window 3 of 9)" in caught.value.why
    for a, b in zip(before, model.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)


def test_chunked_loss_equals_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(2500, 24, generator=generator, requires_grad=True)
    weight = torch.randn(97, 24, generator=generator, requires_grad=True)
    labels = torch.randint(97, (2500,), generator=generator)
    labels[::7] = IGNORE
    expected = nn.functional.cross_entropy(hidden @ weight.T, labels, ignore_index=IGNORE, reduction="sum")
    wanted = torch.autograd.grad(expected, (hidden, weight))
    found = token_loss(hidden, weight, labels)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for a, b in zip(torch.autograd.grad(found, (hidden, weight)), wanted, strict=True):
        assert torch.allclose(a, b, atol=1e-5 * float(b.abs().max()))


@pytest.mark.parametrize("changes", [{}, {"logit_cap": 5.0}, {"logit_scale": 0.3}])
def test_the_loss_of_each_sequence_is_that_of_its_own_log_softmax(changes: dict[str, float]) -> None:
    model, batch = small_model(**changes).eval(), ragged_batch()
    found = CausalLM().sequence_losses(model, batch)
    scores = model(batch["ids"])[0].log_softmax(-1)
    wanted = [
        -sum(scores[row, place, label] for place, label in enumerate(labels) if label != IGNORE)
        for row, labels in enumerate(batch["labels"].tolist())
    ]
    assert torch.allclose(found, torch.stack(wanted), atol=1e-5)
    assert torch.allclose(found.sum(), CausalLM().terms(model, batch)["loss"].sum, rtol=1e-6)
    found[0].backward()  # one sequence's gradient can be had apart
    assert model.embedding.weight.grad is not None
