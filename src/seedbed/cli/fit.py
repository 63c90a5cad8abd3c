"""`seedbed fit`: whether a model fits this machine, and how fast it can write there."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.errors import CapacityError
from seedbed.core.machine import cores, instruction_sets, processor
from seedbed.core.progress import say
from seedbed.core.units import bytes_text, count_text

if TYPE_CHECKING:
    from seedbed.app.fit import FitRow, Machine, Needs


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

    \b
    Example:
      seedbed fit gpt2-xl
      seedbed fit hf:HuggingFaceTB/SmolLM2-1.7B-Instruct --context 2048
    """
    from seedbed.app.fit import DEFAULT_CONTEXT, fit, recommend
    from seedbed.app.fit_target import find_needs, this_machine

    library = Library()
    needs = find_needs(library, model, revision, offline)
    machine = this_machine(library.root)
    length = min(context or DEFAULT_CONTEXT, needs.parts.context)
    rows = fit(needs, machine, length)
    best = recommend(rows)
    if as_json:
        print_json(_to_json(needs, machine, length, rows, best))
    else:
        _print(needs, machine, length, rows, best)
    if best is None:
        raise CapacityError(
            f"{needs.title} does not fit this machine",
            why=f"the smallest form needs {bytes_text(rows[-1].memory)} of memory and {bytes_text(rows[-1].disk)} of"
            f" disk; here are {bytes_text(machine.memory)} and {bytes_text(machine.disk)}",
            fix="choose a smaller model (`seedbed search`) or a shorter --context",
        )


def _print(needs: Needs, machine: Machine, context: int, rows: list[FitRow], best: FitRow | None) -> None:
    print(f"{needs.title}: {count_text(needs.parts.total)} parameters, context {context:,}")
    if needs.note:
        say(f"warning: {needs.note}")
    sets = ", ".join(instruction_sets()) or "instruction sets unknown"
    print(f"processor: {processor()}, {cores()} cores, {sets}")
    free = f"{bytes_text(machine.available)} free"
    print(f"memory: {bytes_text(machine.memory)}, {free}; disk: {bytes_text(machine.disk)} free")
    print(f"GPU: {bytes_text(machine.gpu_memory)} free" if machine.gpu_memory else "GPU: none that PyTorch can use")
    print()
    gpu = bool(machine.gpu_memory)
    headers = ["weights in", "size", "memory", "disk", "fits", "tokens/s", *(["on the GPU", "tokens/s"] if gpu else [])]
    cells = [
        [
            row.precision,
            *map(bytes_text, (row.weights, row.memory, row.disk)),
            row.verdict,
            _speed(row.tokens),
            *([row.gpu or "-", _speed(row.gpu_tokens)] if gpu else []),
        ]
        for row in rows
    ]
    print_table(headers, cells, right=(1, 2, 3, 5, 7))
    if needs.parts.generates:
        print(
            f"\ntokens/s: at most; {bytes_text(machine.bandwidth)}/s that this memory delivers (measured, best of 6)"
            "\nover the bytes a token needs: the weights it goes through, and half of the context's keys and values"
        )
    if best is not None:
        print(f"\nrecommended: {best.precision}")


def _speed(tokens: float | None) -> str:
    return "-" if tokens is None else f"{tokens:,.0f}" if tokens >= 10 else f"{tokens:.2g}"


def _to_json(needs: Needs, machine: Machine, context: int, rows: list[FitRow], best: FitRow | None) -> dict[str, Any]:
    return {
        "model": needs.title,
        "parameters": needs.parts.total,
        "parameters_read_per_token": needs.parts.read,
        "context": context,
        "download_bytes": needs.download,
        "note": needs.note,
        "machine": {
            "processor": processor(),
            "cores": cores(),
            "instruction_sets": list(instruction_sets()),
            "memory_bytes": machine.memory,
            "available_bytes": machine.available,
            "disk_bytes": machine.disk,
            "bytes_per_second": machine.bandwidth,
            "gpu_memory_bytes": machine.gpu_memory,
            "gpu_bytes_per_second": machine.gpu_bandwidth,
        },
        "precisions": [_row_json(row) for row in rows],
        "recommended": best.precision if best else None,
    }


def _row_json(row: FitRow) -> dict[str, Any]:
    sizes = {f"{name}_bytes": getattr(row, name) for name in ("weights", "memory", "disk")}
    rest = {name: value for name, value in asdict(row).items() if f"{name}_bytes" not in sizes}
    return {**rest, **sizes, "fits": row.fits}
