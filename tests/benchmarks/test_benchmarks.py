"""A small run of each benchmark as a user would start it, and the parts that decide what they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner

from seedbed.core.errors import NotFoundError, UsageError

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import decode  # noqa: E402
import shakespeare  # noqa: E402
import time_to_loss  # noqa: E402
import train  # noqa: E402
from harness import Competitor, OtherLoad, busy_warning, summary  # noqa: E402
from nanogpt_style import GPT, GPTConfig, Trainer  # noqa: E402


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def answer(script: str, *arguments: str, home: Path | None = None) -> Any:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"} | ({"SEEDBED_HOME": str(home)} if home else {})
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_train_times_all_three_in_turns() -> None:
    pytest.importorskip("transformers")
    result = answer("train.py", "--shapes", "tiny", "--rounds", "2", "--steps", "1", "--warmup", "1")["tiny"]
    assert len(result["tokens_per_second"]["seedbed"]) == 4  # one turn for each peer and round
    for peer in ("transformers", "nanogpt"):
        ours = result["tokens_per_second"]["seedbed"][0 if peer == "transformers" else 1 :: 2]
        assert result["ratios"][peer] == [a / b for a, b in zip(ours, result["tokens_per_second"][peer], strict=True)]
    # 12 d² + 2 LayerNorms of 2 d, tied embedding, positions, the last norm
    assert result["limit"]["parameters"] == 12 * 32**2 + 4 * 32 + 128 * 32 + 256 * 32 + 2 * 32


def test_train_refuses_an_unknown_shape() -> None:
    done = CliRunner().invoke(train.main, ["--shapes", "3M,5M"])
    assert done.exit_code == 2
    assert "5M is none of 3M" in done.output


def test_decode_lets_ours_and_a_peer_take_turns() -> None:
    pytest.importorskip("transformers")
    arguments = ("--shapes", "tiny", "--bits", "int8", "--peers", "transformers", "--rounds", "2")
    result = answer("decode.py", *arguments)["results"]["tiny int8"]
    assert set(result["speeds"]) == {"decode", "prefill", "2 at once"}
    for task, by in result["speeds"].items():
        expected = [a / b for a, b in zip(by["seedbed"], by["transformers"], strict=True)]
        assert result["ratios"][task]["transformers"] == expected
        assert len(expected) == 2


def test_decode_refuses_an_unknown_peer() -> None:
    done = CliRunner().invoke(decode.main, ["--peers", "vllm"])
    assert isinstance(done.exception, UsageError)


def test_time_to_loss_on_packed_tokens(tmp_path: Path) -> None:
    from seedbed.core.artifacts import Library
    from seedbed.corpus.build import build_corpus
    from seedbed.corpus.pack import pack_corpus
    from seedbed.corpus.settings import CorpusSettings, SourceSettings
    from seedbed.tokenizers.settings import TokenizerSettings
    from seedbed.tokenizers.train import train_tokenizer

    words = np.random.default_rng(0).choice(["seed", "soil", "rain", "root", "leaf", "light"], (60, 200))
    texts = [" ".join(row) + "." for row in words]
    folder = tmp_path / "texts"
    folder.mkdir()
    for index, text in enumerate(texts):
        (folder / f"{index}.txt").write_text(text)
    library = Library(tmp_path / "home")
    corpus = build_corpus(CorpusSettings(sources=(SourceSettings("words", str(folder)),)), library, workers=1)
    tokenizer = train_tokenizer(texts, TokenizerSettings(kind="byte")).store(library, parents=(corpus,))
    pack_corpus(corpus, tokenizer, library, "words")

    sizes = ["--steps", "2", "--ours-steps", "3", "--turn", "2", "--validation", "1", "--set", "train.lr=0.01"]
    result = answer("time_to_loss.py", "--tokens", "words", *sizes, home=library.root)
    assert [point["step"] for point in result["curves"]["nanogpt"]] == [2]
    assert [point["step"] for point in result["curves"]["seedbed"]] == [2, 3]
    assert result["target"] == result["curves"]["nanogpt"][-1]["loss"] < np.log(300)


def test_time_to_loss_takes_settings_by_section() -> None:
    options = {"ours_steps": 7, "seed": 3, "set": ["train.lr=0.5", "model.qk_norm=false"]}
    model, settings = time_to_loss._our_settings(50, options)
    assert (model.n_layers, model.d_model, model.qk_norm) == (4, 192, False)
    assert (settings.steps, settings.seed, settings.lr) == (7, 3, 0.5)
    for wrong, message in (("train.lrr=1", "unknown key `lrr`"), ("lr=1", "neither model nor train")):
        with pytest.raises(UsageError, match=message):
            time_to_loss._our_settings(50, options | {"set": [wrong]})


@pytest.mark.parametrize(("ours", "seconds"), [([3.0, 2.0, 1.5], 20.0), ([3.0, 2.5, 2.1], None)])
def test_verdict_is_the_first_time_ours_is_as_low(ours: list[float], seconds: float | None) -> None:
    points = [{"step": 5 * i, "seconds": 10.0 * i, "loss": loss} for i, loss in enumerate(ours, 1)]
    peer = [{"step": 5, "seconds": 25.0, "loss": 2.4}, {"step": 10, "seconds": 50.0, "loss": 2.0}]
    outcome = time_to_loss.verdict({"seedbed": points, "nanogpt": peer})
    assert outcome["seedbed_seconds"] == seconds
    assert outcome["ratio"] == (2.5 if seconds else None)


def test_shakespeare_prints_a_loss_for_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEEDBED_KEEP_PAGES", "0")  # this process's allocator is not the benchmark's to change
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question. " * 200)
    arguments = ["--data", str(text), "--steps", "20", "--lr", "0.02", "--lr", "0.01", "--json"]
    done = CliRunner().invoke(shakespeare.main, arguments)
    assert done.exit_code == 0, done.output
    losses = [entry["loss"] for entry in json.loads(done.stdout)["runs"]]
    assert len(set(losses)) == 4
    assert max(losses) < np.log(len(set(text.read_text())))  # better than guessing


def test_shakespeare_names_a_missing_text(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.txt"):
        shakespeare.read_characters(tmp_path / "none.txt")


def test_validation_covers_every_window_once() -> None:
    tokens = np.arange(64 * 5 + 30).astype(np.uint16)
    batches = shakespeare.validation(tokens, rows=2)
    ids = torch.cat([batch["ids"].flatten() for batch in batches])
    labels = torch.cat([batch["labels"].flatten() for batch in batches])
    assert ids.tolist() == list(range(64 * 5))
    assert labels.tolist() == list(range(1, 64 * 5 + 1))


def test_the_peer_is_our_gpt_shape() -> None:
    """The same weights give the same loss in both, so the comparison is of one model."""
    from seedbed.models.config import ModelConfig
    from seedbed.models.decoder import Decoder

    peer = GPT(GPTConfig(50, 2, 4, 32, 16))
    kinds: dict[str, Any] = {"norm": "layer", "norm_eps": 1e-5, "mlp": "plain", "activation": "gelu"}
    ours = Decoder(ModelConfig(50, 32, 2, 4, max_length=16, position="learned", **kinds))
    ours.initialise(0)
    with torch.no_grad():
        peer.wte.weight.copy_(ours.embedding.weight)
        peer.wpe.weight.copy_(ours.position.weight)  # type: ignore[union-attr]
        for theirs, block in zip(peer.h, ours.blocks, strict=True):
            mixer = block.mixer
            theirs.attn.c_attn.weight.copy_(torch.cat([mixer.q.weight, mixer.k.weight, mixer.v.weight]))
            theirs.attn.c_proj.weight.copy_(mixer.out.weight)
            theirs.mlp.c_fc.weight.copy_(block.feedforward.up.weight)
            theirs.mlp.c_proj.weight.copy_(block.feedforward.down.weight)
    ids, targets = torch.randint(50, (2, 3, 16), generator=torch.Generator().manual_seed(1))
    logits, _ = ours(ids)
    expected = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(peer(ids, targets)[1], expected, rtol=1e-5, atol=1e-5)


def test_the_peer_learns_and_follows_its_cosine() -> None:
    data = np.tile(np.arange(10), 100)
    trainer = Trainer(GPTConfig(10, 1, 2, 16, 8), data, 4, lr=1e-2, steps=150)
    losses, rates = [], []
    for _ in range(150):
        losses.append(trainer.step())
        rates.append(trainer.optimizer.param_groups[0]["lr"])
    assert losses[-1] < 0.5 < losses[0]
    assert rates[0] == pytest.approx(1e-2 / 101)
    assert rates[100] == pytest.approx(1e-2)
    assert rates[125] == pytest.approx(1e-2 * 0.55)  # half-way between the peak and a tenth of it


def test_a_competitor_that_dies_is_named() -> None:
    competitor = Competitor(ROOT / "benchmarks" / "train.py", "seedbed", {"shape": "none"})
    with pytest.raises(RuntimeError, match="seedbed ended with exit code 1"):
        competitor.ask(steps=1)
    competitor.close()


def test_other_load_leaves_out_our_own_work() -> None:
    load = OtherLoad()
    before = load.own
    while load._own_seconds() - before < 0.3:
        pass
    share = load.share()
    assert 0 <= share <= 1
    load.processes = []  # nothing is ours now: the same work counts as someone else's
    load.own = 0.0
    assert load.share() > share


def test_warning_and_summary() -> None:
    assert busy_warning(0.02) == ""
    assert "40%" in busy_warning(0.4)
    assert summary([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}
