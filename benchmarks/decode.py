"""Generation speed on two cores: our engine against llama.cpp at the same bits, and transformers in float32.

LLaMA shapes with random weights, the same shapes and bits for both (q8_0 and int8: groups of 32 with a float16 scale,
8.5 bits a weight; q4_0 and int4 likewise, 4.5). Every competitor is a process of its own with two threads; they take
turns. llama.cpp is driven through its low-level calls (``llama_decode``), a loop without any overhead of a server;
ours goes through the whole engine: scheduler, pages, sampling, log-probabilities.

With ``--model`` a stored model takes the place of random weights, beside llama.cpp on a GGUF file of the same one.
"""

from __future__ import annotations

import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from harness import Competitor, OtherLoad, busy_warning, peak_memory, serve, summary
from llama_files import write_gguf, write_seedbed
from seedbed.cli.common import print_json, print_table
from seedbed.core.errors import UsageError
from seedbed.core.machine import read_bandwidth
from seedbed.core.progress import progress, say
from seedbed.core.units import bytes_text

OURS, LLAMA, TRANSFORMERS = "seedbed", "llama.cpp", "transformers"
WINDOW = 1024
PROMPT = 16
"""Tokens before decoding is timed."""
BITS = {"int8": "q8_0", "int4": "q4_0"}
Task = Callable[[dict[str, Any]], float]


@dataclass(frozen=True)
class Shape:
    """A LLaMA shape; ``new`` and ``prefill`` are the lengths of its tasks, ``goal`` the decode ratio aimed at."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocab: int
    tied: bool
    new: int
    prefill: int
    goal: float


SHAPES = {
    "S": Shape(288, 6, 6, 6, 768, 32000, True, 128, 512, 1.0),
    "M": Shape(768, 12, 12, 12, 2048, 32000, True, 64, 512, 1.2),
    "L": Shape(2048, 22, 32, 4, 5632, 32000, False, 24, 256, 1.35),
    "tiny": Shape(64, 2, 2, 1, 128, 256, True, 8, 64, 0.0),
}
PREFILL_GOAL, BATCH_GOAL, TRANSFORMERS_GOAL = 2.5, 2.5, 3.0
BATCHES = {"S": (8, 32), "M": (8, 32), "L": (8,), "tiny": (2,)}


@dataclass(frozen=True)
class Subject:
    """The weights that a worker runs: of a shape at random, or of a stored model and a GGUF file of it."""

    shape: Shape
    bits: str
    folder: Path
    model: str = ""
    gguf: str = ""

    @property
    def file(self) -> Path:
        """llama.cpp's file."""
        return Path(self.gguf) if self.gguf else self.folder / f"{BITS[self.bits]}.gguf"

    def load(self) -> Any:
        """Our model."""
        from seedbed.core.artifacts import Library
        from seedbed.models.store import load_model, map_quantized

        if self.model:
            return load_model(Library().get(self.model, "model")).model
        return map_quantized(config_of(self.shape), self.bits, self.folder / f"{self.bits}.safetensors")

    def bytes_read(self) -> dict[str, int]:
        """Bytes of weights that a token reads, by competitor."""
        from seedbed.core.artifacts import Library
        from seedbed.models.store import WEIGHTS

        ours = self.folder / f"{self.bits}.safetensors"
        if self.model:
            ours = Library().get(self.model, "model").file(WEIGHTS)
        left_out = 0 if self.shape.tied else weights_of_embedding(self.shape)
        theirs = self.file if self.gguf else ours  # of one size, but for headers
        return {OURS: ours.stat().st_size - left_out, LLAMA: theirs.stat().st_size - left_out}


def subject_of(options: dict[str, str]) -> Subject:
    """The subject that a competitor's options name."""
    if not options.get("model"):
        return Subject(SHAPES[options["shape"]], options["bits"], Path(options["folder"]))
    from seedbed.core.artifacts import Library
    from seedbed.models.store import read_config, read_description

    described = read_description(Library().get(options["model"], "model"))
    config: Any = read_config(described["model"])
    widths = (config.d_model, config.n_layers, config.n_heads, config.kv_heads, config.hidden, config.vocab_size)
    shape = Shape(*widths, config.tied, 64, 512, 1.5)
    return Subject(shape, described["quantization"] or "float", Path(), options["model"], options["gguf"])


def _seedbed(subject: Subject) -> tuple[Task, float]:
    import torch

    from seedbed.evaluation.speed import time_replies
    from seedbed.inference.engine import Engine
    from seedbed.inference.runners.cpu import CpuRunner

    torch.set_num_threads(2)
    started = time.perf_counter()
    model = subject.load()
    engine = Engine(CpuRunner(model, cache_bytes=2**30), (), speculate=False)
    loaded = time.perf_counter() - started
    return _task(subject.shape, functools.partial(time_replies, engine)), loaded


def _llama(subject: Subject) -> tuple[Task, float]:
    import llama_cpp as api
    import numpy as np

    silent = api.llama_log_callback(lambda *_: None)
    api.llama_log_set(silent, None)
    api.llama_backend_init()
    defaults = api.llama_model_default_params()
    started = time.perf_counter()
    model, shape = api.llama_model_load_from_file(str(subject.file).encode(), defaults), subject.shape

    @functools.cache
    def context_of(sequences: int) -> Any:  # one sequence has the whole window, each of several the room it needs
        settings = api.llama_context_default_params()
        room = WINDOW if sequences == 1 else -(-(PROMPT + shape.new) // 256) * 256
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_seq_max = sequences * room, 512, 512, sequences
        settings.n_threads = settings.n_threads_batch = 2
        return api.llama_init_from_model(model, settings)

    context_of(1)
    loaded = time.perf_counter() - started
    batch = api.llama_batch_init(512, 0, 1)
    random = np.random.default_rng(0)

    def decode(context: Any, entries: list[tuple[int, int, int, bool]]) -> None:
        batch.n_tokens = len(entries)
        for place, (token, position, sequence, wanted) in enumerate(entries):
            batch.token[place], batch.pos[place] = token, position
            batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, sequence, wanted
        if api.llama_decode(context, batch) != 0:
            raise RuntimeError("llama_decode failed")

    def best(context: Any, place: int) -> int:
        logits = api.llama_get_logits_ith(context, place)
        return int(np.ctypeslib.as_array(logits, (shape.vocab,)).argmax())

    def run(length: int, new: int, sequences: int) -> tuple[float, float]:
        context = context_of(sequences)
        api.llama_memory_clear(api.llama_get_memory(context), True)
        prompts = random.integers(shape.vocab, size=(sequences, length)).tolist()
        started = time.perf_counter()
        tokens = []
        for sequence, prompt in enumerate(prompts):
            decode(context, [(token, at, sequence, at == length - 1) for at, token in enumerate(prompt)])
            tokens.append(best(context, length - 1))
        first = time.perf_counter()
        for step in range(new - 1):
            decode(context, [(token, length + step, sequence, True) for sequence, token in enumerate(tokens)])
            tokens = [best(context, place) for place in range(sequences)]
        return first - started, time.perf_counter() - first

    run.__dict__["kept"] = silent  # the callback must outlive the library's use of it
    return _task(shape, run), loaded


def _transformers(subject: Subject) -> tuple[Task, float]:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(2)
    started, shape = time.perf_counter(), subject.shape
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        intermediate_size=shape.hidden,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=shape.tied,
    )
    model = LlamaForCausalLM(config).eval()
    loaded = time.perf_counter() - started

    def run(length: int, new: int, sequences: int) -> tuple[float, float]:
        ids = torch.randint(shape.vocab, (sequences, length))
        with torch.inference_mode():
            started = time.perf_counter()
            model(ids)
            first = time.perf_counter()
            model.generate(ids, min_new_tokens=new, max_new_tokens=new, do_sample=False, pad_token_id=0)
            return first - started, time.perf_counter() - first - (first - started)

    return _task(shape, run), loaded


def _task(shape: Shape, run: Callable[[int, int, int], tuple[float, float]]) -> Task:
    """Tokens per second of a task."""

    def answer(request: dict[str, Any]) -> float:
        if request["task"] == "prefill":
            return shape.prefill / run(shape.prefill, 1, 1)[0]
        sequences = request["sequences"]
        return sequences * (shape.new - 1) / run(PROMPT, shape.new, sequences)[1]

    return answer


def config_of(shape: Shape) -> Any:
    """The shape as a model of ours."""
    from seedbed.models.config import ModelConfig

    return ModelConfig(
        shape.vocab,
        shape.width,
        shape.layers,
        shape.heads,
        shape.kv_heads,
        d_ff=shape.hidden,
        max_length=WINDOW,
        tied=shape.tied,
        norm_eps=1e-5,
    )


WORKERS = {OURS: _seedbed, LLAMA: _llama, TRANSFORMERS: _transformers}


def _work(name: str, options: dict[str, Any]) -> None:
    task, loaded = WORKERS[name](subject_of(options))

    def handle(request: dict[str, Any]) -> dict[str, float]:
        speed = task(request) if request else 0.0
        return {"speed": speed, "load_seconds": loaded, "peak_memory": peak_memory()}

    serve(handle)


def _measure(
    name: str, bits: str, rounds: int, options: dict[str, str], peers: list[str], wanted: str
) -> dict[str, Any]:
    competitors = {who: Competitor(Path(__file__), who, options) for who in (OURS, *peers)}
    tasks = {"decode": {"task": "decode", "sequences": 1}, "prefill": {"task": "prefill"}}
    tasks |= {f"{count} at once": {"task": "decode", "sequences": count} for count in BATCHES.get(name, (8,))}
    tasks = {task: request for task, request in tasks.items() if wanted in task}
    speeds: dict[str, dict[str, list[float]]] = {task: {who: [] for who in competitors} for task in tasks}
    answers: dict[str, Any] = {}
    try:
        for who, competitor in competitors.items():
            answers[who] = competitor.ask()
            competitor.ask(**next(iter(tasks.values())))  # warm
        load = OtherLoad(list(competitors.values()))
        with progress(f"{name} {bits}", rounds * len(tasks), "turns") as bar:
            for _ in range(rounds):
                for task, request in tasks.items():
                    for who, competitor in competitors.items():
                        speeds[task][who].append(competitor.ask(**request)["speed"])
                    bar.advance(1, f"{task} {speeds[task][OURS][-1]:,.0f} tokens/s")
        memory = {who: competitor.ask()["peak_memory"] for who, competitor in competitors.items()}
        other = load.share()
    finally:
        for competitor in competitors.values():
            competitor.close()
    ratios = {
        task: {peer: [a / b for a, b in zip(by[OURS], by[peer], strict=True)] for peer in peers}
        for task, by in speeds.items()
    }
    loading = {who: answer["load_seconds"] for who, answer in answers.items()}
    return {"speeds": speeds, "ratios": ratios, "load_seconds": loading, "peak_memory": memory, "other_load": other}


def _print(name: str, bits: str, result: dict[str, Any], subject: Subject, bandwidth: float) -> None:
    shape, rows, weights = subject.shape, [], subject.bytes_read()
    for task, by in result["speeds"].items():
        for who, values in by.items():
            speed = summary(values)["median"]
            row = [name, bits, task, who, f"{speed:,.1f}"]
            row.append(f"{speed * weights[who] / bandwidth:.0%}" if task == "decode" and who in weights else "")
            if who in result["ratios"][task]:
                ratio = summary(result["ratios"][task][who])
                row += [f"{ratio['median']:.2f}x ({ratio['min']:.2f}–{ratio['max']:.2f})", _goal(task, who, shape)]
            rows.append([*row, *[""] * (8 - len(row))])
    headers = ["shape", "bits", "task", "who", "tokens/s", "of bandwidth", "ours is faster by", "goal"]
    print_table(headers, rows, right=(4, 5))
    for who, seconds in result["load_seconds"].items():
        print(f"{name} {bits} {who}: loads in {seconds:.2f} s, peak memory {bytes_text(result['peak_memory'][who])}")


def weights_of_embedding(shape: Shape) -> int:
    """Bytes of an untied input embedding, of which a token reads one row."""
    return int(shape.vocab * shape.width * 8.5 / 8)


def _goal(task: str, who: str, shape: Shape) -> str:
    if who == TRANSFORMERS:
        return f"{TRANSFORMERS_GOAL}x" if task == "decode" else ""
    return {"decode": f"{shape.goal}x", "prefill": f"{PREFILL_GOAL}x"}.get(task, f"{BATCH_GOAL}x")


@click.command()
@click.option("--shapes", default="S,M,L", show_default=True, help="Which shapes, separated by commas.")
@click.option("--bits", default="int8,int4", show_default=True, help="Which weights, separated by commas.")
@click.option("--peers", default=f"{LLAMA},{TRANSFORMERS}", show_default=True, help="Whom to compare with.")
@click.option("--tasks", "wanted", default="", help="Only tasks whose names contain this, such as decode.")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1), help="Turns of every task.")
@click.option("--model", help="A model of the library in place of the shapes.")
@click.option("--gguf", type=click.Path(exists=True, dir_okay=False), help="llama.cpp's file of --model.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Keep the weights here.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
@click.option("--worker", hidden=True, help="Be this competitor.")
@click.option("--options", hidden=True, default="{}", help="The competitor's options.")
def main(
    shapes: str,
    bits: str,
    peers: str,
    wanted: str,
    rounds: int,
    model: str | None,
    gguf: str | None,
    folder: Path | None,
    as_json: bool,
    worker: str | None,
    options: str,
) -> None:
    """Generation speed against llama.cpp (llama-cpp-python and gguf must be installed) and transformers.

    \b
    Example:
      python benchmarks/decode.py --shapes M --bits int8 --rounds 3
      python benchmarks/decode.py --model smollm2-int8 --gguf SmolLM2-135M-Instruct.Q4_1.gguf
    """
    if worker:
        _work(worker, json.loads(options))
        return
    if (model is None) != (gguf is None):
        raise UsageError("--model and --gguf go together", why="two programs are compared", fix="give both or neither")
    names, kinds, others = shapes.split(","), bits.split(","), [peer for peer in peers.split(",") if peer]
    for value, known in ((names, SHAPES), (kinds, BITS), (others, WORKERS)):
        unknown = [one for one in value if one not in known]
        if unknown:
            raise UsageError(f"{', '.join(unknown)} is not known", why=f"they are {', '.join(known)}", fix="choose one")
    bandwidth = read_bandwidth()
    say(f"two threads read {bandwidth / 1e9:.1f} GB/s: no decoding passes that divided by the bytes of its weights")
    results = {}

    def compare(name: str, kind: str, given: dict[str, str], peers: list[str]) -> None:
        result = results[f"{name} {kind}"] = _measure(name, kind, rounds, given, peers, wanted)
        if not as_json:
            _print(name, kind, result, subject_of(given), bandwidth)
        if warning := busy_warning(result["other_load"]):
            say(f"{name} {kind}: {warning}")

    if model and gguf:
        given = {"model": model, "gguf": gguf}
        compare(model, subject_of(given).bits, given, [LLAMA])
        names = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in names:
            for kind in kinds:
                place = (folder or Path(temporary)) / name
                place.mkdir(parents=True, exist_ok=True)
                write_seedbed(config_of(SHAPES[name]), kind, place)
                if LLAMA in others:
                    write_gguf(config_of(SHAPES[name]), BITS[kind], place)
                # float32 does not depend on the bits, and does not fit beside the others at L
                here = [peer for peer in others if peer != TRANSFORMERS or (kind == kinds[0] and name != "L")]
                compare(name, kind, {"shape": name, "bits": kind, "folder": str(place)}, here)
    if as_json:
        print_json({"bandwidth": bandwidth, "results": results})


if __name__ == "__main__":
    sys.exit(main())
