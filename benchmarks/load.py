"""Load time and peak memory of a published model: ours against transformers' ``from_pretrained`` in one precision.

TinyLlama's shape (1.1 billion parameters) with random weights in bfloat16, written once as a Hugging Face folder. Every
load is a new process, because peak memory counts from its start; the two take turns. Both map the file and read a page
of it when it is first used, so that loading alone says little: the first logits of a short prompt, which need every
weight, are timed from the same start. "Warm" reads find the file in the operating system's cache. Before "cold" ones it
is asked to forget the file, which it does for pages that no other process has mapped; a disk's or a virtual machine's
own cache may still have them, so cold says what one machine does, and no more. Memory is the process's peak of resident
memory beyond what the imports took; of it, pages of the mapped file are the operating system's to take back.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness import Competitor, OtherLoad, busy_warning, peak_memory, serve, summary
from seedbed.cli.common import print_json, print_table
from seedbed.core.progress import progress, say
from seedbed.core.units import bytes_text

OURS, TRANSFORMERS = "seedbed", "transformers"
PROMPT = 16
"""Tokens of the prompt whose logits are the first."""
MEASURES = {"load": "seconds", "first logits": "seconds", "memory loaded": "bytes", "memory used": "bytes"}
GOAL = 1.0
"""Of every ratio: no slower and no more memory."""


@dataclass(frozen=True)
class Shape:
    """A LLaMA shape."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocab: int


SHAPES = {
    "1.1B": Shape(2048, 22, 32, 4, 5632, 32000),
    "110M": Shape(768, 12, 12, 4, 2048, 32000),
    "tiny": Shape(64, 2, 2, 1, 128, 256),
}
Load = Callable[[Path], Callable[[list[int]], Any]]


def write_folder(shape: Shape, folder: Path) -> None:
    """config.json and safetensors with random weights, unless they are there."""
    import torch

    from seedbed.formats.safetensors.shards import write_safetensors
    from seedbed.models.config import ModelConfig
    from seedbed.models.factory import skeleton
    from seedbed.models.families.registry import publish
    from seedbed.models.families.weight_mapping import expand

    if (folder / "config.json").exists():
        return
    say(f"writing {folder}")
    config = ModelConfig(
        shape.vocab,
        shape.width,
        shape.layers,
        shape.heads,
        shape.kv_heads,
        d_ff=shape.hidden,
        max_length=2048,
        tied=False,
        norm_eps=1e-5,
    )
    model = skeleton(config)
    family, published = publish(config, "llama")
    generator = torch.Generator().manual_seed(0)

    def tensors() -> Iterator[tuple[str, torch.Tensor]]:
        for row in expand(family.table(config), model):
            size = model.get_parameter(row.ours[0]).shape
            drawn = torch.randn(size, generator=generator) * 0.02 if len(size) > 1 else torch.ones(size)
            yield row.theirs, drawn.to(torch.bfloat16)

    write_safetensors(folder, tensors())
    (folder / "config.json").write_text(json.dumps({**published, "dtype": "bfloat16"}))


def _seedbed(folder: Path) -> Callable[[list[int]], Any]:
    import torch

    from seedbed.formats.importing import open_published
    from seedbed.formats.published import load_published

    model, _ = load_published(open_published(folder), torch.bfloat16)
    return lambda ids: model(torch.tensor([ids]))[0]


def _transformers(folder: Path) -> Callable[[list[int]], Any]:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    return lambda ids: model(torch.tensor([ids])).logits


WORKERS: dict[str, Load] = {OURS: _seedbed, TRANSFORMERS: _transformers}


def _work(name: str, options: dict[str, Any]) -> None:
    """Load once and answer with what it took; imports are done before the clock starts."""
    import torch

    folder = Path(options["folder"])
    torch.set_num_threads(2)
    if name == OURS:
        import seedbed.formats.published  # noqa: F401
    else:
        import transformers.models.auto.modeling_auto
        import transformers.models.llama.modeling_llama  # noqa: F401

    def handle(request: dict[str, Any]) -> dict[str, float]:
        with torch.inference_mode():
            before, started = peak_memory(), time.perf_counter()
            logits_of = WORKERS[name](folder)
            loaded, memory = time.perf_counter(), peak_memory()
            logits = logits_of(list(range(3, 3 + PROMPT)))
            done = time.perf_counter()
        return {
            "load": loaded - started,
            "first logits": done - started,
            "memory loaded": memory - before,
            "memory used": peak_memory() - before,
            "check": float(logits.double().sum()),
        }

    serve(handle)


def forget(folder: Path) -> None:
    """Ask the operating system to drop the weights from its cache."""
    for path in folder.glob("*.safetensors"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def _measure(folder: Path, rounds: int, cold: bool) -> dict[str, Any]:
    """Both in turns, each time the other first."""
    found: dict[str, list[dict[str, float]]] = {OURS: [], TRANSFORMERS: []}
    others = []
    with progress("cold" if cold else "warm", rounds, "rounds") as bar:
        for number in range(rounds):
            for who in sorted(found, reverse=bool(number % 2)):
                competitor = Competitor(Path(__file__), who, {"folder": str(folder)})
                try:
                    if cold:
                        forget(folder)
                    else:
                        for path in folder.glob("*.safetensors"):
                            _read(path)
                    load = OtherLoad([competitor])
                    found[who].append(competitor.ask())
                    others.append(load.share())
                finally:
                    competitor.close()
            bar.advance(1, f"{found[OURS][-1]['first logits']:.2f} s to the first logits")
    ratios = {
        measure: [
            ours[measure] / theirs[measure] for ours, theirs in zip(found[OURS], found[TRANSFORMERS], strict=True)
        ]
        for measure in MEASURES
    }
    return {"measured": found, "ratios": ratios, "other_load": max(others)}


def _read(path: Path) -> None:
    """Bring a file into the cache."""
    with path.open("rb") as file:
        while file.read(2**24):
            pass


def _rows(state: str, result: dict[str, Any]) -> list[list[str]]:
    rows = []
    for measure, unit in MEASURES.items():
        for who, answers in result["measured"].items():
            values = summary([answer[measure] for answer in answers])
            shown = {
                name: bytes_text(int(value)) if unit == "bytes" else f"{value:.2f} s" for name, value in values.items()
            }
            row = [state, measure, who, shown["median"], f"{shown['min']}–{shown['max']}"]
            if who == OURS:
                ratio = summary(result["ratios"][measure])
                row += [f"{ratio['median']:.2f} ({ratio['min']:.2f}–{ratio['max']:.2f})", f"≤ {GOAL:.2f}"]
            rows.append([*row, *[""] * (7 - len(row))])
    return rows


@click.command()
@click.option("--shape", default="1.1B", show_default=True, type=click.Choice(list(SHAPES)), help="Which shape.")
@click.option("--rounds", default=7, show_default=True, type=click.IntRange(1), help="Loads of each, warm and cold.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the weights here.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--worker", hidden=True, help="Be this competitor.")
@click.option("--options", hidden=True, default="{}", help="The competitor's options.")
def main(shape: str, rounds: int, folder: Path | None, as_json: bool, worker: str | None, options: str) -> None:
    """Load time and peak memory against transformers' from_pretrained.

    \b
    Example:
      python benchmarks/load.py --shape tiny --rounds 3
    """
    if worker:
        _work(worker, json.loads(options))
        return
    results, rows = {}, []
    with tempfile.TemporaryDirectory() as temporary:
        place = (folder or Path(temporary)) / shape
        place.mkdir(parents=True, exist_ok=True)
        write_folder(SHAPES[shape], place)
        for state in ("warm", "cold"):
            result = results[state] = _measure(place, rounds, state == "cold")
            rows += _rows(state, result)
            if warning := busy_warning(result["other_load"]):
                say(f"{state}: {warning}")
    checks = {round(answer["check"], 3) for one in results.values() for by in one["measured"].values() for answer in by}
    if as_json:
        print_json({"shape": shape, "results": results, "logit_sums": sorted(checks)})
        return
    print_table(["cache", "measure", "who", "median", "least–most", "ours / theirs", "goal"], rows, right=(3,))
    print(f"sums of the first logits: {', '.join(f'{check:.3f}' for check in sorted(checks))} (bfloat16)")


if __name__ == "__main__":
    sys.exit(main())
