"""Low-rank additions beside integers (QLoRA) against PEFT on transformers: tokens a second in turns, and peak memory.

    python benchmarks/qlora.py                                # TinyLlama-1.1B's shape, int4, sequences of 512 tokens
    python benchmarks/qlora.py --shape smollm2-135m --rounds 2

Random weights, random tokens, rank 16 at every linear layer, AdamW, a label at every position. Ours trains from a
stored quantized model, so its peak is that of training alone. PEFT's frozen weights are bfloat16 or float32
(``--peer-precision``), its own additions float32 as its ``get_peft_model`` makes them, without activation
checkpointing, which would only slow it down. Each competitor is a process of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from harness import Competitor, OtherLoad, busy_warning, peak_memory, serve, summary
from seedbed.cli.common import print_json, print_table
from seedbed.core.units import bytes_text

RANK, ALPHA = 16, 32
OURS, PEER = "seedbed", "peft"
SHAPES = Path(__file__).parent.parent / "src/seedbed/models/published_shapes.toml"
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
Step = Callable[[Any], object]


def _config(options: dict[str, Any]) -> Any:
    from dataclasses import replace

    from seedbed.models.presets import preset

    shape = preset(options["shape"])
    return replace(shape, n_layers=options["layers"] or shape.n_layers, max_length=options["length"])


def _store(options: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """Write a quantized model with random weights."""
    from seedbed.models.decoder import Decoder
    from seedbed.models.store import save_weights
    from seedbed.transform.quantize import quantize

    model = Decoder(_config(options))
    model.initialise(0)
    quantize(model, options["quantization"])
    save_weights(model, Path(options["weights"]))
    return lambda request: True


def _seedbed(options: dict[str, Any]) -> Step:
    from seedbed.core.allocator import keep_pages

    keep_pages()
    from seedbed.models.store import map_quantized
    from seedbed.nn.lora import add_low_rank
    from seedbed.train.engine import TrainingEngine
    from seedbed.train.loop import split_batch
    from seedbed.train.objectives.causal_lm import CausalLM
    from seedbed.train.settings import TrainSettings

    model = map_quantized(_config(options), options["quantization"], Path(options["weights"]))
    add_low_rank(model, RANK, ALPHA, 0)
    settings = TrainSettings(steps=1, optimizer="adamw", lr=1e-4, precision=options["precision"])
    engine, size = TrainingEngine(model, CausalLM(), settings), options["micro_batch"]
    return lambda ids: engine.step(split_batch({"ids": ids[:, :-1], "labels": ids[:, 1:]}, size), 1.0)


def _peft(options: dict[str, Any]) -> Step:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    described = tomllib.loads(SHAPES.read_text(encoding="utf-8"))[options["shape"]]
    described |= {"num_hidden_layers": options["layers"] or described["num_hidden_layers"]}
    dtype = getattr(torch, options["peer_precision"])
    torch.set_default_dtype(dtype)
    base = LlamaForCausalLM(LlamaConfig(**described))
    torch.set_default_dtype(torch.float32)
    model = get_peft_model(base, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=LINEAR))
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)

    def step(ids: Any) -> None:
        parts = ids[:, :-1].split(options["micro_batch"])
        for part in parts:
            (model(input_ids=part, labels=part).loss / len(parts)).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _work(name: str, options: dict[str, Any]) -> None:
    """The life of a competitor: build, then time as many steps as it is asked for."""
    import torch

    if name == "store":
        serve(_store(options))
        return
    step = {OURS: _seedbed, PEER: _peft}[name](options)
    vocabulary = tomllib.loads(SHAPES.read_text(encoding="utf-8"))[options["shape"]]["vocab_size"]
    ids = torch.randint(vocabulary, (options["batch"], options["length"] + 1))

    def handle(request: dict[str, Any]) -> dict[str, float]:
        started, used = time.perf_counter(), time.process_time()
        for _ in range(request["steps"]):
            step(ids)
        tokens = request["steps"] * options["batch"] * options["length"]
        seconds, processor = time.perf_counter() - started, time.process_time() - used
        speeds = {"tokens_per_second": tokens / seconds, "tokens_per_processor_second": tokens / processor}
        return speeds | {"peak_memory": peak_memory()}

    serve(handle)


def _measure(options: dict[str, Any], rounds: int, steps: int) -> dict[str, Any]:
    """Let the two take turns."""
    script = Path(__file__)
    store = Competitor(script, "store", options)
    store.ask()
    store.close()
    competitors = {who: Competitor(script, who, options) for who in (OURS, PEER)}
    answers: dict[str, list[dict[str, float]]] = {who: [] for who in competitors}
    try:
        for competitor in competitors.values():
            competitor.ask(steps=1)
        load = OtherLoad(list(competitors.values()))
        for _ in range(rounds):
            for who, competitor in competitors.items():
                answers[who].append(competitor.ask(steps=steps))
        other = load.share()
    finally:
        for competitor in competitors.values():
            competitor.close()
    return {"options": options, "answers": answers, "other_load": other}


def _ratio(answers: dict[str, list[dict[str, float]]], key: str) -> dict[str, float]:
    return summary([ours[key] / peer[key] for ours, peer in zip(answers[OURS], answers[PEER], strict=True)])


@click.command()
@click.option("--shape", default="tinyllama-1.1b", show_default=True, help="A LLaMA-shaped published shape.")
@click.option("--layers", default=0, type=click.IntRange(0), help="So many layers instead of the shape's.")
@click.option("--quantization", default="int4", show_default=True, help="Ours: of the frozen weights.")
@click.option("--length", default=512, show_default=True, type=click.IntRange(2), help="Tokens of a sequence.")
@click.option("--batch", default=4, show_default=True, type=click.IntRange(1), help="Sequences of a step.")
@click.option("--micro-batch", default=1, show_default=True, type=click.IntRange(1), help="Sequences together.")
@click.option("--precision", default="fast", show_default=True, help="Ours.")
@click.option("--peer-precision", default="bfloat16", show_default=True, help="PEFT's frozen weights.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Pairs of turns.")
@click.option("--steps", default=1, show_default=True, type=click.IntRange(1), help="Steps a turn.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--worker", hidden=True)
@click.option("--options", "described", hidden=True, default="{}")
def main(rounds: int, steps: int, as_json: bool, worker: str | None, described: str, **options: Any) -> None:
    """Fine-tuning a quantized model through low-rank additions, against PEFT."""
    if worker:
        _work(worker, json.loads(described))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = _measure(options | {"weights": str(Path(folder) / "model.safetensors")}, rounds, steps)
    answers = result["answers"]
    result |= {key: _ratio(answers, key) for key in ("tokens_per_second", "tokens_per_processor_second")}
    if as_json:
        print_json(result)
        return
    rows = []
    for who, found in answers.items():
        speeds = [
            f"{summary([one[key] for one in found])['median']:,.0f}"
            for key in ("tokens_per_second", "tokens_per_processor_second")
        ]
        rows.append([who, *speeds, bytes_text(max(one["peak_memory"] for one in found))])
    print_table(["", "tokens/s", "tokens a processor second", "peak memory"], rows, right=(1, 2, 3))
    for key in ("tokens_per_second", "tokens_per_processor_second"):
        found = result[key]
        click.echo(f"ours over PEFT's, {key}: {found['median']:.2f} ({found['min']:.2f}–{found['max']:.2f})")
    if warning := busy_warning(result["other_load"]):
        click.echo(warning, err=True)


if __name__ == "__main__":
    sys.exit(main())
