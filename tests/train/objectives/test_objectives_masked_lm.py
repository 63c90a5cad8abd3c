"""Masked language modelling: the masking's statistics, the loss in closed form, and a recipe that fills masks."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner

from seedbed.cli.main import cli
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.models.config import ModelConfig
from seedbed.models.store import load_any
from seedbed.models.task_model import TaskModel
from seedbed.nn.loss import IGNORE
from seedbed.pipeline.recipe import load_recipe
from seedbed.pipeline.run import run_recipe
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer
from seedbed.train.objectives.masked_lm import MaskedLM

SPECIAL, MASK = 6, 262  # of a byte tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["text"], TokenizerSettings(kind="byte", mask=True))


def sample(rows: int = 400, width: int = 500) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(SPECIAL, MASK, (rows, width)))


def shares(ids: torch.Tensor, seen: torch.Tensor, labels: torch.Tensor, mask: int) -> tuple[float, ...]:
    """Of all tokens: predicted. Of these: masked, replaced by another, unchanged."""
    chosen = labels != IGNORE
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(seen[~chosen], ids[~chosen])
    masked, same = (seen == mask)[chosen].double().mean(), (seen == ids)[chosen].double().mean()
    return float(chosen.double().mean()), float(masked), float(1 - masked - same), float(same)


def test_the_masking_is_that_of_the_paper_and_of_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    ids = sample()
    batch = MaskedLM().prepare({"ids": ids}, np.random.default_rng(1), tokenizer)
    ours = shares(ids, batch["ids"], batch["labels"], MASK)
    tokenizer.save(tmp_path)
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    collator = transformers.DataCollatorForLanguageModeling(theirs, mlm=True, mlm_probability=0.15)
    torch.manual_seed(0)
    made = collator([{"input_ids": row} for row in ids])
    peer = shares(ids, made["input_ids"], made["labels"], MASK)
    # 200,000 draws of 0.15, and 30,000 of 0.8 and 0.1: five standard deviations
    assert ours[0] == pytest.approx(0.15, abs=0.004)
    assert ours[1] == pytest.approx(0.8, abs=0.012)
    assert ours[2:] == pytest.approx((0.1, 0.1), abs=0.009)
    assert ours == pytest.approx(peer, abs=0.016)


def test_special_tokens_are_never_predicted(tokenizer: Tokenizer) -> None:
    ids = torch.full((20, 50), tokenizer.bos_id)
    batch = MaskedLM(share=0.99).prepare({"ids": ids}, np.random.default_rng(1), tokenizer)
    assert MaskedLM().weights(batch) == {"tokens": 0}
    assert torch.equal(batch["ids"], ids)


def test_the_loss_is_the_sum_of_log_probabilities_at_the_labels(tokenizer: Tokenizer) -> None:
    config = ModelConfig(tokenizer.vocab_size, 32, 2, 4, max_length=64, causal=False, head="mlm")
    model = TaskModel(config).eval()
    model.initialise(3)
    batch = MaskedLM().prepare({"ids": sample(3, 40)}, np.random.default_rng(2), tokenizer)
    term = MaskedLM().terms(model, batch)["loss"]
    scores = model(batch["ids"]).log_softmax(-1).detach()
    places = [(row, at) for row in range(3) for at in range(40) if batch["labels"][row, at] != IGNORE]
    assert MaskedLM().weights(batch) == {term.unit: len(places)}
    wanted = -sum(scores[row, at, batch["labels"][row, at]] for row, at in places)
    assert float(term.sum.detach()) == pytest.approx(float(wanted), rel=1e-5)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    plain = train_tokenizer(["text"], TokenizerSettings(kind="byte"))
    with pytest.raises(UsageError, match="no mask token") as caught:
        MaskedLM().prepare({"ids": sample(1, 8)}, np.random.default_rng(0), plain)
    assert "mask = true" in caught.value.fix


def test_the_recipe_makes_a_model_that_predict_fills_masks_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_text(f"The cat sat on the mat, and number {number} was a good cat. " * 8)
    tiny = (
        "steps=300",
        "batch=8",
        "sample_seconds=0.0",
        "model.depth=1",
        "model.context=48",
        "evaluate_every=100",
        "lr=0.03",
    )
    changes = [f'corpus.sources=[{{name="a", path="{folder}"}}]', "corpus.near_duplicate=0.0", "tokenizer.kind=byte"]
    recipe = load_recipe("masked-lm", [*changes, *(f"train.{one}" for one in tiny)])
    model = run_recipe(recipe, Library(tmp_path / "home")).model
    assert isinstance(load_any(model).model, TaskModel)
    done = CliRunner().invoke(cli, ["predict", "masked-lm", "The cat s[MASK]t on the mat, and", "--json"])
    assert done.exit_code == 0, done.output
    guesses = json.loads(done.stdout)["predictions"][0]
    assert len(guesses) == 5
    assert guesses[0]["text"] == "a", guesses
