"""Span corruption: nothing of the text is lost, the spans are T5's, the loss is transformers', and a recipe runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner

from seedbed.cli.main import cli
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.formats.importing import open_published
from seedbed.formats.published import load_published
from seedbed.pipeline.recipe import load_recipe
from seedbed.pipeline.run import run_recipe
from seedbed.tokenizers.settings import TokenizerSettings
from seedbed.tokenizers.tokenizer import Tokenizer
from seedbed.tokenizers.train import train_tokenizer
from seedbed.train.objectives.seq2seq import SpanCorruption

SPECIAL, SENTINEL = 6, 262  # of a byte tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(["text"], TokenizerSettings(kind="byte", sentinels=64))


def corrupted(rows: int, width: int, tokenizer: Tokenizer) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    ids = torch.from_numpy(np.random.default_rng(0).integers(SPECIAL, SENTINEL, (rows, width)))
    return ids, dict(SpanCorruption().prepare({"ids": ids}, np.random.default_rng(1), tokenizer))


def spans(target: list[int]) -> dict[int, list[int]]:
    """Return the tokens that follow each sentinel."""
    found: dict[int, list[int]] = {}
    for token in target:
        if token >= SENTINEL:
            found[token] = []
        else:
            found[list(found)[-1]].append(token)
    return found


def test_source_and_target_hold_every_token_once(tokenizer: Tokenizer) -> None:
    ids, batch = corrupted(50, 100, tokenizer)
    for row, source, target in zip(ids.tolist(), batch["source"].tolist(), batch["labels"].tolist(), strict=True):
        assert source.pop() == target.pop() == tokenizer.end_id
        filled = spans(target)
        assert [token for token in source if token >= SENTINEL] == list(filled) == sorted(filled)
        assert [one for token in source for one in filled.get(token, [token])] == row
    shifted = torch.cat([torch.full((50, 1), tokenizer.bos_id), batch["labels"][:, :-1]], 1)
    assert torch.equal(batch["ids"], shifted)


@pytest.mark.parametrize(("width", "out", "count"), [(512, 77, 26), (100, 15, 5), (16, 2, 1), (2, 1, 1)])
def test_as_much_is_taken_out_as_in_t5(tokenizer: Tokenizer, width: int, out: int, count: int) -> None:
    """``random_spans_noise_mask``: round(0.15 · length) tokens in round(that / 3) spans, none of them empty."""
    _, batch = corrupted(20, width, tokenizer)
    for target in batch["labels"].tolist():
        filled = spans(target[:-1])
        assert (sum(map(len, filled.values())), len(filled)) == (out, count)
        assert all(filled.values())


def test_spans_are_drawn_evenly(tokenizer: Tokenizer) -> None:
    """Of 15 tokens in 5 spans, every composition is as likely: the first has length 1 in C(13,3)/C(14,4) of them."""
    _, batch = corrupted(4000, 100, tokenizer)
    firsts = [len(spans(target[:-1])[SENTINEL]) for target in batch["labels"].tolist()]
    assert np.mean([first == 1 for first in firsts]) == pytest.approx(286 / 1001, abs=0.036)  # five deviations


def test_the_loss_is_that_of_transformers(tokenizer: Tokenizer, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=tokenizer.vocab_size, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
        decoder_start_token_id=tokenizer.bos_id, eos_token_id=tokenizer.end_id, pad_token_id=tokenizer.pad_id,
    )  # fmt: skip
    theirs = transformers.T5ForConditionalGeneration(config).eval()
    theirs.save_pretrained(tmp_path)
    tokenizer.save(tmp_path)
    ours, _ = load_published(open_published(tmp_path))
    _, batch = corrupted(4, 60, tokenizer)
    term = SpanCorruption().terms(ours, batch)["loss"]
    with torch.no_grad():
        wanted = theirs(input_ids=batch["source"], labels=batch["labels"]).loss
    count = SpanCorruption().weights(batch)[term.unit]
    assert float(term.sum.detach()) / count == pytest.approx(float(wanted), rel=1e-5)


def test_too_few_sentinels_are_refused() -> None:
    few = train_tokenizer(["text"], TokenizerSettings(kind="byte", sentinels=2))
    with pytest.raises(UsageError, match="no <extra_id_2>") as caught:
        corrupted(1, 100, few)
    assert "sentinels = 5" in caught.value.fix


def test_the_recipe_makes_a_model_that_run_writes_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_HOME", str(tmp_path / "home"))
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(40):
        (folder / f"{number}.txt").write_text(f"The cat sat on the mat, and number {number} was a good cat. " * 8)
    tiny = ["steps=20", "batch=4", "sample_seconds=0.0", "model.depth=1", "model.context=48"]
    changes = [f'corpus.sources=[{{name="a", path="{folder}"}}]', "corpus.near_duplicate=0.0", "tokenizer.kind=byte"]
    recipe = load_recipe("span-corruption", [*changes, *(f"train.{one}" for one in tiny)])
    outcome = run_recipe(recipe, Library(tmp_path / "home"))
    assert outcome.model.manifest.metrics["valid_loss"] < np.log(SENTINEL + 64)
    done = CliRunner().invoke(cli, ["run", "span-corruption", "The cat <extra_id_0> the mat", "--max-tokens", "5"])
    assert done.exit_code == 0, done.output
