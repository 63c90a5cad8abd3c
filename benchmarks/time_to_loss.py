"""Time to a loss: seconds until our training reaches what a nanoGPT-style run with AdamW has after its last step.

Same tokens, vocabulary, context, batch, validation text and threads. The peer trains with nanoGPT's settings: warm-up
of 100 steps to 1e-3, cosine to a tenth, betas 0.9 and 0.95, decay 0.1. Ours is the default architecture of as many
parameters with our defaults, for a length of its own, since its schedule has to know where it ends. Both take turns of
``--turn`` steps in one run, so that other load on the machine meets both; their clocks stand still while the other
works and while the validation loss is taken.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness import Competitor, OtherLoad, busy_warning, serve
from seedbed.cli.common import print_json, print_table
from seedbed.core.errors import SeedbedError, UsageError
from seedbed.core.progress import progress, say

CONTEXT, BATCH = 256, 16
LAYERS, HEADS, WIDTH, VOCAB = 4, 4, 192, 8192
NAME = f"benchmark-stdlib-{VOCAB}"
Curve = list[dict[str, float]]


def make_tokens() -> str:
    """The standard library's text in a vocabulary of 8,192, packed; kept in the library. Returns its id."""
    from seedbed.core.artifacts import Library
    from seedbed.corpus.build import build_corpus
    from seedbed.corpus.pack import pack_corpus
    from seedbed.corpus.settings import CorpusSettings
    from seedbed.corpus.store import Corpus
    from seedbed.tokenizers.settings import TokenizerSettings
    from seedbed.tokenizers.train import train_tokenizer

    library = Library()
    if NAME in library.names():
        return library.get(NAME, "tokens").id
    corpus = build_corpus(CorpusSettings(), library)
    texts = (document.text for document in Corpus.open(corpus).documents("train"))
    tokenizer = train_tokenizer(texts, TokenizerSettings(vocab_size=VOCAB)).store(library, parents=(corpus,))
    return pack_corpus(corpus, tokenizer, library, NAME).id


def open_tokens(reference: str) -> Any:
    """Packed tokens by name or id."""
    from seedbed.core.artifacts import Library
    from seedbed.corpus.pack import TokenShards

    return TokenShards.open(Library().get(reference, "tokens"))


def validation(tokens: Any, batches: int) -> list[dict[str, Any]]:
    """The first windows of the validation split, one after another."""
    import torch

    wanted = min(len(tokens) - 1, batches * BATCH * CONTEXT) // CONTEXT * CONTEXT
    ids = torch.from_numpy(tokens.read(0, wanted + 1).astype("int64"))
    inputs, labels = ids[:-1].view(-1, CONTEXT), ids[1:].view(-1, CONTEXT)
    parts = zip(inputs.split(BATCH), labels.split(BATCH), strict=True)
    return [{"ids": part, "labels": label} for part, label in parts]


Run = tuple[Callable[[], object], Callable[[], float]]
"""How to take a step, and the validation loss in nats."""


def _nanogpt(shards: Any, options: dict[str, Any]) -> Run:
    import torch

    from nanogpt_style import GPTConfig, Trainer

    train, batches = shards.split("train"), validation(shards.split("valid"), options["validation"])
    config = GPTConfig(shards.vocab_size, LAYERS, HEADS, WIDTH, CONTEXT)
    trainer = Trainer(config, train.read(0, len(train)), BATCH, steps=options["steps"], seed=options["seed"])

    @torch.no_grad()
    def validate() -> float:
        total = sum(trainer.model(b["ids"], b["labels"])[1].item() * b["labels"].numel() for b in batches)
        return total / sum(b["labels"].numel() for b in batches)

    return trainer.step, validate


def _our_settings(vocab: int, options: dict[str, Any]) -> tuple[Any, Any]:
    """Our model and training settings: the defaults, then each ``model.key=value`` or ``train.key=value``."""
    from seedbed.core.config import load, to_dict
    from seedbed.models.presets import default_model
    from seedbed.train.settings import TrainSettings

    changes: dict[str, list[str]] = {"model": [], "train": []}
    for change in options["set"]:
        section, _, rest = change.partition(".")
        if section not in changes:
            raise UsageError(
                f"--set {change}", why=f"{section!r} is neither model nor train", fix="write --set train.lr=0.03"
            )
        changes[section].append(rest)
    model = default_model(WIDTH // 64, vocab, CONTEXT, n_layers=LAYERS)
    settings = TrainSettings(steps=options["ours_steps"], batch=BATCH, seed=options["seed"])
    model = load(type(model), to_dict(model), overrides=changes["model"])
    settings = load(TrainSettings, to_dict(settings), overrides=changes["train"])
    return model, settings


def _seedbed(shards: Any, options: dict[str, Any]) -> Run:
    from seedbed.core.randomness import seed_everything
    from seedbed.models.decoder import Decoder
    from seedbed.train.engine import TrainingEngine
    from seedbed.train.loop import split_batch
    from seedbed.train.objectives.causal_lm import CausalLM
    from seedbed.train.schedule import learning_rate
    from seedbed.train.sources.packed import PackedTokens

    config, settings = _our_settings(shards.vocab_size, options)
    seed_everything(settings.seed)
    model = Decoder(config)
    model.initialise(settings.seed)
    engine = TrainingEngine(model, CausalLM(), settings)
    source = PackedTokens(shards.split("train"), CONTEXT, settings.batch, settings.seed)
    batches = validation(shards.split("valid"), options["validation"])
    done = 0

    def step() -> None:
        nonlocal done
        rate = learning_rate(done, done / settings.steps, settings)
        engine.step(split_batch(source.next(), settings.micro_batch), rate)
        done += 1

    return step, lambda: engine.evaluate(batches)["loss"]


def _work(name: str, options: dict[str, Any]) -> None:
    """The life of a competitor: as many steps as it is asked for, then the validation loss."""
    if name == "seedbed":
        from seedbed.core.allocator import keep_pages

        keep_pages()
    step, validate = {"seedbed": _seedbed, "nanogpt": _nanogpt}[name](open_tokens(options["tokens"]), options)
    done, seconds = 0, 0.0

    def handle(request: dict[str, Any]) -> dict[str, float]:
        nonlocal done, seconds
        started = time.perf_counter()
        for _ in range(request["steps"]):
            step()
        seconds += time.perf_counter() - started
        done += request["steps"]
        return {"step": done, "seconds": seconds, "loss": validate()}

    serve(handle)


def race(options: dict[str, Any], turn: int) -> dict[str, Any]:
    """Let both take turns to their ends. Returns their curves and the other load."""
    left = {"seedbed": options["ours_steps"], "nanogpt": options["steps"]}
    runners = {name: Competitor(Path(__file__), name, options) for name in left}
    curves: dict[str, Curve] = {name: [] for name in left}
    load = OtherLoad(list(runners.values()))
    try:
        with progress("time to loss", sum(left.values()), "steps") as bar:
            while any(left.values()):
                for name in (name for name, steps in left.items() if steps):
                    steps = min(turn, left[name])
                    curves[name].append(runners[name].ask(steps=steps))
                    left[name] -= steps
                    bar.advance(steps, f"{name} {curves[name][-1]['loss']:.3f}")
        return {"curves": curves, "other_load": load.share()}
    finally:
        for runner in runners.values():
            runner.close()


def verdict(curves: dict[str, Curve]) -> dict[str, Any]:
    """The peer's last loss, and when each had it; ``ratio`` is None where ours never did."""
    target = curves["nanogpt"][-1]
    reached = next((point for point in curves["seedbed"] if point["loss"] <= target["loss"]), None)
    return {
        "target": target["loss"],
        "nanogpt_seconds": target["seconds"],
        "seedbed_seconds": reached and reached["seconds"],
        "seedbed_steps": reached and reached["step"],
        "seedbed_last_loss": curves["seedbed"][-1]["loss"],
        "ratio": reached and target["seconds"] / reached["seconds"],
    }


def _print(outcome: dict[str, Any], curves: dict[str, Curve]) -> None:
    rows = [
        [name, f"{point['step']:.0f}", f"{point['seconds']:.1f}", f"{point['loss']:.4f}"]
        for name, curve in curves.items()
        for point in curve
    ]
    print_table(["who", "step", "seconds", "loss"], rows, right=(1, 2, 3))
    if outcome["ratio"] is None:
        print(f"ours did not reach {outcome['target']:.4f}: it ended at {outcome['seedbed_last_loss']:.4f}")
    else:
        print(
            f"loss {outcome['target']:.4f}: nanoGPT-style {outcome['nanogpt_seconds']:.1f} s, "
            f"ours {outcome['seedbed_seconds']:.1f} s, {outcome['ratio']:.2f}x faster (goal 1.5x)"
        )


@click.command()
@click.option("--tokens", help="Packed tokens by name or id; without it the standard library's are made.")
@click.option("--steps", default=2000, show_default=True, type=click.IntRange(1), help="The peer's steps.")
@click.option("--ours-steps", default=1000, show_default=True, type=click.IntRange(1), help="Our steps.")
@click.option("--turn", default=25, show_default=True, type=click.IntRange(1), help="Steps between validations.")
@click.option("--validation", "batches", default=16, show_default=True, type=click.IntRange(1), help="Batches of it.")
@click.option("--set", "changes", multiple=True, help="Change ours, such as train.lr=0.03; repeatable.")
@click.option("--seed", default=0, show_default=True, help="Weights and order.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--worker", hidden=True, help="Be this competitor.")
@click.option("--options", hidden=True, default="{}", help="The competitor's options.")
def main(
    tokens: str | None,
    steps: int,
    ours_steps: int,
    turn: int,
    batches: int,
    changes: tuple[str, ...],
    seed: int,
    as_json: bool,
    worker: str | None,
    options: str,
) -> None:
    """Seconds until we reach the loss of a nanoGPT-style AdamW run.

    \b
    Example:
      python benchmarks/time_to_loss.py --steps 2000 --ours-steps 900 --set train.lr=0.03
    """
    if worker:
        _work(worker, json.loads(options))
        return
    chosen = {"steps": steps, "ours_steps": ours_steps, "validation": batches, "set": changes, "seed": seed}
    try:
        chosen["tokens"] = tokens or make_tokens()
        _our_settings(open_tokens(str(chosen["tokens"])).vocab_size, chosen)  # a mistake in --set shows up here
    except SeedbedError as error:
        raise click.ClickException(str(error).removeprefix("error: ")) from error
    result = race(chosen, turn)
    outcome = verdict(result["curves"])
    if as_json:
        print_json(outcome | result)
    else:
        _print(outcome, result["curves"])
    if warning := busy_warning(result["other_load"]):
        say(warning)


if __name__ == "__main__":
    sys.exit(main())
