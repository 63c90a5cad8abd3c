"""`seedbed quantize`: a smaller, faster copy of a model, with what it costs in quality."""

from __future__ import annotations

from typing import Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.units import bytes_text


@click.command("quantize")
@options.model
@click.option("--quantization", multiple=True, default=["int8"], help="int8, int4, int8-row …; repeatable. [int8]")
@options.name("Name of the result, for one quantization. [default: MODEL-QUANTIZATION]")
@options.measure
@options.common_flags
def quantize_command(model: str, quantization: tuple[str, ...], name: str | None, measure: bool, as_json: bool) -> None:
    """Store MODEL with 8- or 4-bit weights, and compare it with the original on held-out text.

    The copy loads without reading all of its file, needs a quarter or less of the memory, and runs faster.

    \b
    Example:
      seedbed quantize quickstart --quantization int8 --quantization int4
    """
    from seedbed.app.quantize import quantized_copies

    library = Library()
    original, copies = (
        library.get(model, "model"),
        quantized_copies(library, model, quantization, name, measure=measure),
    )
    rows = [
        {"name": one.name, "id": one.artifact.id, "quantization": one.quantization, "bytes": one.artifact.size}
        | (vars(one.quality) if one.quality else {})
        for one in copies
    ]
    if as_json:
        print_json({"original": original.id, "bytes": original.size, "models": rows})
        return
    _print(rows, original.size)


def _print(rows: list[dict[str, Any]], original: int) -> None:
    headers = ["model", "weights", "size", "of original", "bits per byte", "float", "same best token", "KL, nats"]
    cells = [
        [
            row["name"],
            row["quantization"],
            bytes_text(row["bytes"]),
            f"{row['bytes'] / original:.0%}",
            *(_figure(row, key, form) for key, form in _FIGURES),
        ]
        for row in rows
    ]
    print_table(headers, cells, right=tuple(range(2, len(headers))))


_FIGURES = (("bits_per_byte", ".4f"), ("float_bits_per_byte", ".4f"), ("agreement", ".1%"), ("divergence", ".5f"))


def _figure(row: dict[str, Any], key: str, form: str) -> str:
    return format(row[key], form) if key in row else ""
