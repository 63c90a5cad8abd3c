"""Training speed: our step against a Hugging Face loop and a nanoGPT-style loop, in turns, in one run.

Same model (GPT-2's shape, float32), batch and sequence; each competitor in a process of its own, written as its users
write it. The differences that remain are small: Hugging Face's GPT-2 has biases everywhere, our LayerNorm has one;
GELU is GPT-2's with tanh for Hugging Face (its default) and for us, nanoGPT's exact one for the nanoGPT-style loop.
What each may bring to the speed (fused optimizers, chunked losses, allocator settings) is the point of the comparison.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness import Competitor, OtherLoad, Row, busy_warning, peak_memory, serve, summary
from seedbed.cli.common import print_json, print_table
from seedbed.core.progress import progress, say
from seedbed.core.units import bytes_text

SEQUENCE, BATCH = 256, 16
TOKENS = SEQUENCE * BATCH
DATA_TOKENS = 1_000_000
OURS, PEERS = "seedbed", ("transformers", "nanogpt")
Step = Callable[[], object]


@dataclass(frozen=True)
class Shape:
    """A model's shape, and the ratio to each peer that we aim at."""

    layers: int
    heads: int
    width: int
    vocab: int
    goals: dict[str, float]


SHAPES = {
    "3M": Shape(4, 4, 192, 8192, {"transformers": 1.4, "nanogpt": 1.2}),
    "30M": Shape(8, 8, 512, 8192, {"transformers": 1.5, "nanogpt": 1.15}),
    "30Mv50k": Shape(6, 6, 384, 50304, {"nanogpt": 1.4}),
    "tiny": Shape(1, 2, 32, 128, {}),
}


def _model_config(shape: Shape) -> Any:
    from seedbed.models.config import ModelConfig

    kinds: dict[str, Any] = {"norm": "layer", "norm_eps": 1e-5, "mlp": "plain", "activation": "gelu_tanh"}
    return ModelConfig(
        shape.vocab, shape.width, shape.layers, shape.heads, max_length=SEQUENCE, position="learned", **kinds
    )


def _data(shape: Shape) -> Any:
    import numpy as np

    return np.random.default_rng(0).integers(shape.vocab, size=DATA_TOKENS).astype(np.uint16)


def _seedbed(shape: Shape) -> Step:
    from seedbed.core.allocator import keep_pages

    keep_pages()
    from seedbed.models.decoder import Decoder
    from seedbed.train.engine import TrainingEngine
    from seedbed.train.objectives.causal_lm import CausalLM
    from seedbed.train.settings import TrainSettings
    from seedbed.train.sources.packed import PackedTokens

    model = Decoder(_model_config(shape))
    model.initialise(0)
    engine = TrainingEngine(model, CausalLM(), TrainSettings(steps=1, optimizer="adamw", lr=1e-3, weight_decay=0.1))
    source = PackedTokens(Row(_data(shape)), SEQUENCE, BATCH, seed=0)
    return lambda: engine.step([source.next()], 1.0)


def _nanogpt(shape: Shape) -> Step:
    from nanogpt_style import GPTConfig, Trainer

    config = GPTConfig(shape.vocab, shape.layers, shape.heads, shape.width, SEQUENCE)
    return Trainer(config, _data(shape), BATCH).step


def _transformers(shape: Shape) -> Step:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=shape.vocab,
        n_positions=SEQUENCE,
        n_embd=shape.width,
        n_layer=shape.layers,
        n_head=shape.heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    rows = torch.from_numpy(_data(shape)[: DATA_TOKENS // SEQUENCE * SEQUENCE].astype("int64")).view(-1, SEQUENCE)
    dataset = torch.utils.data.TensorDataset(rows)
    loader = torch.utils.data.DataLoader(dataset, BATCH, shuffle=True, drop_last=True)
    batches = (batch for _ in iter(int, 1) for (batch,) in loader)

    def step() -> float:
        ids = next(batches)
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def _work(name: str, options: dict[str, Any]) -> None:
    """The life of a competitor: build, then time as many steps as it is asked for."""
    step = {"seedbed": _seedbed, "nanogpt": _nanogpt, "transformers": _transformers}[name](SHAPES[options["shape"]])

    def handle(request: dict[str, Any]) -> dict[str, float]:
        started = time.perf_counter()
        for _ in range(request["steps"]):
            step()
        seconds = time.perf_counter() - started
        return {"tokens_per_second": request["steps"] * TOKENS / seconds, "peak_memory": peak_memory()}

    serve(handle)


def _limit(name: str) -> dict[str, float]:
    """Return the limit of the processor: the matrix products alone, at the rate of one large product."""
    from seedbed.core.machine import matmul_flops
    from seedbed.models.parameter_counts import count_parameters

    described = count_parameters(_model_config(SHAPES[name]))
    flops, peak = described.flops_per_token(), matmul_flops(1.0)
    return {"parameters": described.total, "flops_per_token": flops, "peak": peak, "tokens_per_second": peak / flops}


def _measure(name: str, rounds: int, steps: int, warmup: int, limit: dict[str, float]) -> dict[str, Any]:
    """Let ours and each peer take turns. Returns tokens per second, ratios, memory and the other load."""
    competitors = {who: Competitor(Path(__file__), who, {"shape": name}) for who in (OURS, *PEERS)}
    speeds: dict[str, list[float]] = {who: [] for who in competitors}
    ratios: dict[str, list[float]] = {who: [] for who in PEERS}
    memory: dict[str, float] = {}

    def run(who: str) -> float:
        answer = competitors[who].ask(steps=steps)
        speeds[who].append(answer["tokens_per_second"])
        memory[who] = answer["peak_memory"]
        return speeds[who][-1]

    try:
        for competitor in competitors.values():
            competitor.ask(steps=warmup)
        load = OtherLoad(list(competitors.values()))
        with progress(name, rounds * len(PEERS), "pairs") as bar:
            for _ in range(rounds):
                for peer in PEERS:
                    ratios[peer].append(run(OURS) / run(peer))
                    bar.advance(1, f"{peer} {ratios[peer][-1]:.2f}x")
        other = load.share()
    finally:
        for competitor in competitors.values():
            competitor.close()
    return {
        "shape": dataclasses.asdict(SHAPES[name]),
        "limit": limit,
        "tokens_per_second": speeds,
        "share_of_peak": {who: summary(rates)["median"] / limit["tokens_per_second"] for who, rates in speeds.items()},
        "peak_memory": memory,
        "ratios": ratios,
        "ratio": {peer: summary(values) for peer, values in ratios.items()},
        "other_load": other,
    }


def _print(name: str, result: dict[str, Any]) -> None:
    rows = []
    for who in (OURS, *PEERS):
        speed = summary(result["tokens_per_second"][who])["median"]
        row = [
            name,
            who,
            f"{speed:,.0f}",
            f"{result['share_of_peak'][who]:.0%}",
            bytes_text(result["peak_memory"][who]),
        ]
        if who in PEERS:
            ratio, goal = result["ratio"][who], result["shape"]["goals"].get(who)
            row += [f"{ratio['median']:.2f}x ({ratio['min']:.2f}–{ratio['max']:.2f})", f"{goal}x" if goal else ""]
        rows.append([*row, *[""] * (7 - len(row))])
    headers = ["shape", "who", "tokens/s", "of peak", "memory", "ours is faster by", "goal"]
    print_table(headers, rows, right=(2, 3, 4))


@click.command()
@click.option("--shapes", default="3M,30M,30Mv50k", show_default=True, help="Which shapes, separated by commas.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Pairs with each peer.")
@click.option("--steps", default=10, show_default=True, type=click.IntRange(1), help="Steps a turn.")
@click.option("--warmup", default=3, show_default=True, type=click.IntRange(1), help="Steps before measuring.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--worker", hidden=True, help="Be this competitor.")
@click.option("--options", hidden=True, default="{}", help="The competitor's options.")
def main(shapes: str, rounds: int, steps: int, warmup: int, as_json: bool, worker: str | None, options: str) -> None:
    """Training speed against transformers and a nanoGPT-style loop, same model and batch.

    \b
    Example:
      python benchmarks/train.py --shapes 3M --rounds 3 --steps 10
    """
    if worker:
        _work(worker, json.loads(options))
        return
    names = shapes.split(",")
    unknown = [name for name in names if name not in SHAPES]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)} is none of {', '.join(SHAPES)}", param_hint="--shapes")
    limits = {name: _limit(name) for name in names}
    for name, limit in limits.items():
        say(
            f"{name}: {limit['parameters'] / 1e6:.1f} M parameters, {limit['flops_per_token'] / 1e6:.1f} MFLOP a "
            f"token; at the matmul peak of {limit['peak'] / 1e9:.0f} GFLOP/s no one passes "
            f"{limit['tokens_per_second']:,.0f} tokens/s"
        )
    results = {name: _measure(name, rounds, steps, warmup, limits[name]) for name in names}
    for name, result in results.items():
        if not as_json:
            _print(name, result)
        if warning := busy_warning(result["other_load"]):
            say(f"{name}: {warning}")
    if as_json:
        print_json(results)


if __name__ == "__main__":
    sys.exit(main())
