"""`seedbed fit`: whether a model fits this machine, and how fast it can write there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.common import bytes_text, common_flags, count_text, print_json, print_table
from seedbed.core.errors import CapacityError, NotFoundError
from seedbed.core.progress import say

if TYPE_CHECKING:
    from seedbed.app.fit import FitRow, Machine, Needs


@click.command("fit")
@click.argument("model")
@click.option("--context", type=click.IntRange(1), help="Tokens of context. [default: the model's, at most 4096]")
@click.option("--revision", help="For a repository on the hub: a branch, tag or commit.")
@click.option("--offline", is_flag=True, help="Ask nothing of the network.")
@common_flags
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
    from seedbed.core.artifacts import Library

    library = Library()
    needs = _needs(library, model, revision, offline)
    machine = _machine(library.root)
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


def _needs(library: Any, model: str, revision: str | None, offline: bool) -> Needs:
    """A path, a name in the library, a preset, or a repository, looked for in this order."""
    from seedbed.app.fit import config_needs, folder_needs, hub_needs
    from seedbed.models.presets import presets

    path = Path(model).expanduser()
    if (path.suffix.lower() == ".gguf" and path.is_file()) or (path / "config.json").is_file():
        return folder_needs(path)
    if not model.startswith("hf:"):
        try:
            return _stored(library, model)
        except NotFoundError as error:
            missing = error
        if model in presets():
            return config_needs(model, presets()[model])
        if "/" not in model:
            raise NotFoundError(
                f"there is no model {model!r}",
                why=f"{missing.why}; the published shapes are {', '.join(presets())}",
                fix="for a repository on the hub write hf:OWNER/NAME",
            ) from missing
    from seedbed.hub.hub import Hub
    from seedbed.hub.repository import read_address

    hub = Hub(offline=offline)
    return hub_needs(hub, hub.listing(read_address(model), revision))


def _stored(library: Any, model: str) -> Needs:
    from seedbed.app.fit import config_needs
    from seedbed.models.store import read_config, read_description

    artifact = library.get(model, "model")
    artifact.verify()
    return config_needs(model, read_config(read_description(artifact)["model"]))


def _machine(root: Path) -> Machine:
    import shutil

    from seedbed.app.fit import Machine
    from seedbed.core.machine import available_bytes, gpu_bandwidth, gpus, memory_bytes, read_bandwidth

    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    found = gpus()
    return Machine(
        memory=memory_bytes(),
        available=available_bytes(),
        disk=shutil.disk_usage(existing).free,
        bandwidth=read_bandwidth(2**28),
        gpu_memory=found[0]["free_bytes"] if found else 0,
        gpu_bandwidth=gpu_bandwidth() if found else 0.0,
    )


def _print(needs: Needs, machine: Machine, context: int, rows: list[FitRow], best: FitRow | None) -> None:
    from seedbed.core.machine import cores, instruction_sets, processor

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
    from seedbed.core.machine import cores, instruction_sets, processor

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
            **asdict(machine),
        },
        "precisions": [asdict(row) | {"fits": row.fits} for row in rows],
        "recommended": best.precision if best else None,
    }
