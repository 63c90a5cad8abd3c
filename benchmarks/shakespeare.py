"""Learning quality: tinyshakespeare's characters with nanoGPT's published CPU settings, then with our own defaults.

nanoGPT's README gives 1.88 nats a character after 2,000 steps of 12 x 64 characters with 4 layers, 4 heads, width 128.
First our loop with its architecture and its optimizer settings, then its architecture with Muon and our schedule, then
our architecture with as many parameters and tokens. The loss is over the whole validation tenth, in windows of 64
characters.

What differs from nanoGPT in the first run: windows come without repetition, AdamW decays no embedding, LayerNorm has a
bias.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness import Row
from seedbed.cli.common import print_json, print_table
from seedbed.core.allocator import keep_pages
from seedbed.core.errors import NotFoundError, SeedbedError
from seedbed.core.progress import say

PUBLISHED = 1.88
CONTEXT, BATCH, STEPS, WIDTH, LAYERS = 64, 12, 2000, 128, 4
DATA = (
    Path(os.environ.get("SEEDBED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "lm" / "tinyshakespeare.txt"
)


@dataclass(frozen=True)
class Characters:
    """Text as numbers: 90 % to train on, the last 10 % to validate, and how many kinds of character there are."""

    train: Any
    valid: Any
    vocab: int


def read_characters(path: Path) -> Characters:
    """Read a text as nanoGPT's shakespeare_char does: sorted characters, split at 90 %.

    Raises:
        NotFoundError: there is no such file.
    """
    import numpy as np

    if not path.is_file():
        raise NotFoundError(f"there is no text at {path}", why="it is not part of the repository", fix="pass --data")
    text = path.read_text(encoding="utf-8")
    kinds, tokens = np.unique(np.array(list(text)), return_inverse=True)
    cut = int(0.9 * len(tokens))
    return Characters(tokens[:cut].astype(np.uint16), tokens[cut:].astype(np.uint16), len(kinds))


def nanogpt_settings(vocab: int, steps: int) -> tuple[Any, Any]:
    """nanoGPT's architecture and optimizer, as our settings."""
    from seedbed.models.config import ModelConfig
    from seedbed.train.settings import TrainSettings

    model = ModelConfig(
        vocab, WIDTH, LAYERS, 4, max_length=CONTEXT, norm="layer", norm_eps=1e-5, mlp="plain", activation="gelu",
        position="learned",
    )  # fmt: skip
    adamw: dict[str, Any] = {"optimizer": "adamw", "lr": 1e-3, "beta2": 0.99, "weight_decay": 0.1}
    cosine: dict[str, Any] = {"schedule": "cosine", "warmup": 100, "final_lr": 0.1}
    return model, TrainSettings(steps=steps, batch=BATCH, evaluate_every=0, save_every=0, **adamw, **cosine)


def our_settings(vocab: int, steps: int, changes: dict[str, float]) -> tuple[Any, Any]:
    """Our default architecture at the same width and depth, and our default optimizer."""
    from seedbed.models.presets import default_model
    from seedbed.train.settings import TrainSettings

    model = default_model(WIDTH // 64, vocab, CONTEXT, n_layers=LAYERS)
    return model, TrainSettings(steps=steps, batch=BATCH, evaluate_every=0, save_every=0, **changes)


def train(title: str, text: Characters, config: Any, settings: Any) -> dict[str, Any]:
    """One run. Returns its validation loss in nats, parameters and seconds."""
    from seedbed.core.randomness import seed_everything
    from seedbed.models.decoder import Decoder
    from seedbed.models.parameter_counts import count_parameters
    from seedbed.train.engine import TrainingEngine
    from seedbed.train.loop import Hooks, TrainingRun
    from seedbed.train.objectives.causal_lm import CausalLM
    from seedbed.train.sources.packed import PackedTokens

    seed_everything(settings.seed)
    model = Decoder(config)
    model.initialise(settings.seed)
    engine = TrainingEngine(model, CausalLM(), settings)
    source = PackedTokens(Row(text.train), CONTEXT, BATCH, settings.seed)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        TrainingRun(engine, source, Hooks(), Path(folder), title).fit()
    seconds = time.perf_counter() - started
    loss = engine.evaluate(validation(text.valid))["loss"]
    say(f"{title}: validation loss {loss:.4f}")
    return {"run": title, "loss": loss, "parameters": count_parameters(config).total, "seconds": round(seconds, 1)}


def validation(tokens: Any, rows: int = 128) -> list[dict[str, Any]]:
    """All of the text as windows that follow each other; each character but the first is predicted once."""
    import torch

    ids = torch.from_numpy(tokens.astype("int64"))
    windows = (len(ids) - 1) // CONTEXT
    inputs = ids[: windows * CONTEXT].view(windows, CONTEXT)
    labels = ids[1 : windows * CONTEXT + 1].view(windows, CONTEXT)
    parts = zip(inputs.split(rows), labels.split(rows), strict=True)
    return [{"ids": part, "labels": label} for part, label in parts]


def compare(path: Path, steps: int, rates: list[float]) -> list[dict[str, Any]]:
    """nanoGPT's settings; its model with our optimizer; our defaults for each Muon learning rate."""
    text = read_characters(path)
    theirs, settings = nanogpt_settings(text.vocab, steps)
    results = [train("nanoGPT's settings", text, theirs, settings)]
    _, ours = our_settings(text.vocab, steps, {"lr": rates[0]})
    results.append(train(f"nanoGPT's model, Muon {rates[0]:g}", text, theirs, ours))
    for rate in rates:
        results.append(train(f"our settings, Muon {rate:g}", text, *our_settings(text.vocab, steps, {"lr": rate})))
    return results


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="The text.")
@click.option("--steps", default=STEPS, show_default=True, type=click.IntRange(1), help="Steps of 768 characters.")
@click.option(
    "--lr", "rates", multiple=True, type=float, default=(0.02,), show_default=True, help="Muon's; repeatable."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def main(data: Path, steps: int, rates: tuple[float, ...], as_json: bool) -> None:
    """Loss on tinyshakespeare's characters beside nanoGPT's published 1.88.

    \b
    Example:
      python benchmarks/shakespeare.py --lr 0.02 --lr 0.04
    """
    keep_pages()
    try:
        results = compare(data, steps, list(rates))
    except SeedbedError as error:
        raise click.ClickException(str(error).removeprefix("error: ")) from error
    if as_json:
        print_json({"published": PUBLISHED, "steps": steps, "runs": results})
        return
    rows = [
        [
            run["run"],
            f"{run['loss']:.4f}",
            f"{run['loss'] - PUBLISHED:+.4f}",
            f"{run['parameters']:,}",
            str(run["seconds"]),
        ]
        for run in results
    ]
    headers = ["run", "loss", f"against {PUBLISHED}", "parameters", "seconds"]
    print_table(headers, rows, right=(1, 2, 3, 4))


if __name__ == "__main__":
    sys.exit(main())
