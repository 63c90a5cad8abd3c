"""`seedbed doctor`, `fit` and `bench`: this machine, whether a model fits it, and how fast it runs there."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError
from seedbed.core.machine import cores, instruction_sets, processor
from seedbed.core.progress import say
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text, count_text

if TYPE_CHECKING:
    from seedbed.app.fit import FitRow, Machine, Needs


@click.command("doctor")
@click.option("--verify", is_flag=True, help="Hash every file of every artifact (reads the whole library).")
@options.offline
@options.common_flags
def doctor_command(verify: bool, offline: bool, as_json: bool) -> int:
    """Check this machine and this library.

    Every line is ok, warn or problem, with its fix. Exits with 1 if there is a problem.

    $ seedbed doctor --verify
    """
    from seedbed.app.doctor import diagnose

    findings = diagnose(Library(), verify=verify, offline=offline)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        print_table(["", "what", "found"], [[f.state, f.what, f.found] for f in findings])
        for finding in findings:
            if finding.fix and finding.state != "ok":
                echo(f"{finding.state}: {finding.what}: {finding.fix}")
    return int(any(finding.state == "problem" for finding in findings))


@click.command("fit")
@options.model
@options.context("Of the conversation. [default: the model's, at most 4096]")
@options.revision
@options.offline
@options.common_flags
def fit_command(model: str, context: int | None, revision: str | None, offline: bool, as_json: bool) -> None:
    """Say whether MODEL fits this machine, in which precision, and how fast it can write.

    MODEL is a folder or GGUF file, a name in the library, a published shape (gpt2 …), or a repository on the hub, of
    which only the description is read. The speed is a limit: measured bytes a second of this machine's memory ÷ bytes
    that are read for a token. Exits with 5 if it fits in no precision.

    $ seedbed fit gpt2-xl
    $ seedbed fit hf:HuggingFaceTB/SmolLM2-1.7B-Instruct --context 2048
    """
    from seedbed.app.fit import DEFAULT_CONTEXT, find_needs, fit, recommend, this_machine

    library = Library()
    needs, machine = find_needs(library, model, revision, offline), this_machine(library.root)
    length = min(context or DEFAULT_CONTEXT, needs.parts.context)
    rows = fit(needs, machine, length)
    best = recommend(rows)
    recommended = best.precision if best else None
    if as_json:
        about = {"processor": processor(), "cores": cores(), "instruction_sets": list(instruction_sets())}
        facts = {"parameters_read_per_token": needs.parts.read, "context": length, "download_bytes": needs.download}
        precisions = [{**asdict(row), "fits": row.fits} for row in rows]
        found = {"machine": about | asdict(machine), "precisions": precisions, "recommended": recommended}
        print_json({"model": needs.title, "parameters": needs.parts.total, **facts, "note": needs.note, **found})
    else:
        _print_fit(needs, machine, length, rows, recommended)
    if best is None:
        needed, here = (
            [bytes_text(size) for size in (one.memory_bytes, one.disk_bytes)] for one in (rows[-1], machine)
        )
        why = f"the smallest form needs {needed[0]} of memory and {needed[1]} of disk; here are {' and '.join(here)}"
        fix = "choose a smaller model (`seedbed search`) or a shorter --context"
        raise CapacityError(f"{needs.title} does not fit this machine", why=why, fix=fix)


def _print_fit(needs: Needs, machine: Machine, context: int, rows: list[FitRow], recommended: str | None) -> None:
    echo(f"{needs.title}: {count_text(needs.parts.total)} parameters, context {context:,}")
    if needs.note:
        say(f"warning: {needs.note}")
    sets = ", ".join(instruction_sets()) or "instruction sets unknown"
    echo(f"processor: {processor()}, {cores()} cores, {sets}")
    memory, free = bytes_text(machine.memory_bytes), bytes_text(machine.available_bytes)
    echo(f"memory: {memory}, {free} free; disk: {bytes_text(machine.disk_bytes)} free")
    gpu = machine.gpu_memory_bytes
    echo(f"GPU: {bytes_text(gpu)} free\n" if gpu else "GPU: none that PyTorch can use\n")
    headers = ["weights in", "size", "memory", "disk", "fits", "tokens/s", "on the GPU", "tokens/s"]
    cells = [
        [
            *(row.precision, *map(bytes_text, (row.weights_bytes, row.memory_bytes, row.disk_bytes))),
            *(row.verdict, _speed(row.tokens), row.gpu or "-", _speed(row.gpu_tokens)),
        ]
        for row in rows
    ]
    shown = len(headers) if gpu else len(headers) - 2
    print_table(headers[:shown], [row[:shown] for row in cells], right=(1, 2, 3, 5, 7))
    if needs.parts.generates:
        speed = bytes_text(machine.bytes_per_second)
        echo(f"\ntokens/s: at most; {speed}/s that this memory delivers (measured, best of 6)")
        echo("over the bytes a token needs: the weights it goes through, and half of the context's keys and values")
    if recommended:
        echo(f"\nrecommended: {recommended}")


def _speed(tokens: float | None) -> str:
    return "-" if tokens is None else f"{tokens:,.0f}" if tokens >= 10 else f"{tokens:.2g}"


@click.command("bench")
@options.model
@click.option("--prompt-tokens", default=512, show_default=True, type=click.IntRange(1), help="Tokens of the prompt.")
@click.option("--max-tokens", default=128, show_default=True, type=click.IntRange(2), help="Tokens to decode.")
@click.option("--sequences", default=8, show_default=True, type=click.IntRange(1, 64), help="How many at once.")
@options.common_flags
def bench_command(model: str, prompt_tokens: int, max_tokens: int, sequences: int, as_json: bool) -> None:
    """Measure prefill, decoding, loading time and memory of MODEL on this machine.

    "of limit" compares decoding with the speed at which memory can deliver the weights once a token; a small model
    that stays in the processor's cache can pass it. benchmarks/decode.py compares with other programs.

    $ seedbed bench quickstart --max-tokens 32
    """
    import resource  # not on every system

    artifact = Library().get(model, "model")  # before the slow import
    from seedbed.evaluation.speed import measure_speed
    from seedbed.models.store import load_model

    started = time.perf_counter()
    loaded = load_model(artifact)
    seconds = time.perf_counter() - started
    speed = measure_speed(loaded, prompt_tokens, max_tokens, sequences)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    if as_json:
        figures = asdict(speed) | {"limit": speed.limit, "share": speed.share}
        times = {"load_seconds": seconds, "peak_bytes": peak}
        print_json({"model": loaded.artifact.id, "quantization": loaded.quantization, **figures, **times})
        return
    rows = [
        ["prefill", f"{speed.prefill:,.0f} tokens/s", ""],
        ["decode", f"{speed.decode:,.0f} tokens/s", f"{speed.share:.0%} of limit ({speed.limit:,.0f} tokens/s)"],
        [f"decode, {speed.sequences} at once", f"{speed.together:,.0f} tokens/s", ""],
        ["weights", bytes_text(speed.weight_bytes), f"read at up to {bytes_text(speed.bandwidth)}/s"],
        ["loading", f"{seconds:.2f} s", ""],
        ["peak memory", bytes_text(peak), "with Python and PyTorch"],
    ]
    print_table(["what", "figure", ""], rows, right=(1,))
