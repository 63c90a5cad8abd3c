"""`seedbed quantize`, `prune` and `merge`: a model of the library in, another out, with what that costs and saves."""

from __future__ import annotations

import math
from typing import Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.errors import UsageError
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text, count_text
from seedbed.transform.methods import MergeMethod, PruneMethod

_FIGURES = (("bits_per_byte", ".4f"), ("float_bits_per_byte", ".4f"), ("agreement", ".1%"), ("divergence", ".5f"))
_ROWS: tuple[tuple[str, str, Any], ...] = (
    ("parameters", "parameters", count_text),
    ("nonzero", "not zero", count_text),
    ("bytes", "size", bytes_text),
    ("flops_per_token", "FLOPs a token", count_text),
    ("bits_per_byte", "bits per byte", "{:.4f}".format),
    ("same_best_token", "same best token", "{:.1%}".format),
    ("divergence", "KL, nats a token", "{:.5f}".format),
    ("prefill_tokens_per_second", "prefill, tokens/s", "{:,.0f}".format),
    ("decode_tokens_per_second", "decode, tokens/s", "{:,.0f}".format),
)


@click.command("quantize")
@options.model
@click.option("--quantization", multiple=True, default=["int8"], help="int8, int4, int8-row …; repeatable. [int8]")
@options.name("Name of the result, for one quantization. [default: MODEL-QUANTIZATION]")
@options.measure
@options.common_flags
def quantize_command(model: str, quantization: tuple[str, ...], name: str | None, measure: bool, as_json: bool) -> None:
    """Store MODEL with 8- or 4-bit weights, and compare it with the original on held-out text.

    The copy loads without reading all of its file, needs a quarter or less of the memory, and runs faster.

    $ seedbed quantize quickstart --quantization int8 --quantization int4
    """
    from seedbed.app.quantize import quantized_copies

    library = Library()
    original = library.get(model, "model")
    rows: list[dict[str, Any]] = [
        {"name": called, "id": made.id, **made.manifest.config, "bytes": made.size} | (vars(quality) if quality else {})
        for called, made, quality in quantized_copies(library, model, quantization, name, measure=measure)
    ]
    if as_json:
        print_json({"original": original.id, "bytes": original.size, "models": rows})
        return
    headers = ["model", "weights", "size", "of original", "bits per byte", "float", "same best token", "KL, nats"]
    cells = [
        [
            *(row["name"], row["quantization"], bytes_text(row["bytes"]), f"{row['bytes'] / original.size:.0%}"),
            *(format(row[key], form) if key in row else "" for key, form in _FIGURES),
        ]
        for row in rows
    ]
    print_table(headers, cells, right=tuple(range(2, len(headers))))


@click.command("prune")
@options.model
@options.choice("--method", of=PruneMethod, text="The part that is removed.", required=True)
@click.option("--share", type=float, help="Share that is taken away, between 0 and 1; 2:4 takes half.")
@click.option("--global", "everywhere", is_flag=True, help="With magnitude: the smallest of all layers together.")
@click.option("--text", type=options.PATH, help="A text file to judge by and measure on.")
@options.name("Name of the result. [default: MODEL-METHOD]")
@options.measure
@click.option("--speed", is_flag=True, help="Time both too, in turn.")
@options.common_flags
def prune_command(model: str, as_json: bool, **given: Any) -> None:
    """Store MODEL without a share of its weights, heads, layers or feed-forward channels, and compare the two.

    heads, layers and width leave a smaller model that is faster everywhere; magnitude, 2:4 and wanda set single weights
    to zero, which by itself saves nothing here. What goes is judged on text: --text, or the start of the model's own
    corpus; by weights alone where there is none. Wanda always needs text; magnitude never uses it.

    $ seedbed prune quickstart --method width --share 0.25
    $ seedbed prune quickstart --method layers --share 0.2 --text notes.txt --name short
    """
    from seedbed.app.prune import pruned_copy

    made, before, after = pruned_copy(Library(), model, **given)
    if as_json:
        record = {"original": made.manifest.parents[0], "id": made.id, **made.manifest.config}
        print_json(record | {"before": before, "after": after})
        return
    rows = []
    for key, title, form in _ROWS:
        if key in after:
            old, new = before.get(key), after[key]
            change = f"{new / old - 1:+.1%}" if old else ""
            rows.append([title, "" if old is None else form(old), form(new), change])
    print_table(["", "before", "after", "change"], rows, right=(1, 2, 3))


@click.command("merge")
@options.stored("models", "model", nargs=-1, required=True)
@options.name("Name of the result.", required=True)
@click.option("--adapter", "adapters", multiple=True, type=options.PATH, help="A folder in PEFT's format.")
@click.option("--weights", default="", help="Numbers with commas, one for each model or adapter.")
@options.choice("--method", of=MergeMethod, text="How models are merged.", default="linear", show_default=True)
@click.option("--base", help="With --method task: the model that the others were trained from.")
@options.common_flags
def merge_command(name: str, weights: str, as_json: bool, **given: Any) -> None:
    """Merge LoRA adapters into MODEL, or several MODELS of the same shape into one.

    Adapters: W + weight · scale · up · down in every layer they have; each weighs 1 unless --weights says otherwise.
    Models: linear (the weighted mean; all weigh the same unless told), slerp (two; along the arc from the first to
    the second), task (--base plus what each has learned since; each weighs 1). Needs memory for a few tensors only.

    $ seedbed merge quickstart --adapter tuned/ --name tuned
    $ seedbed merge tuned quickstart --weights 0.7,0.3 --name between
    $ seedbed merge tuned other --method task --base quickstart --weights 1,0.5 --name both
    """
    from seedbed.app.merge import merged

    made = merged(Library(), name, weights=_numbers(weights), **given)
    if as_json:
        print_json({"name": name, "id": made.id, "bytes": made.size, **made.manifest.config})
    else:
        echo(f"{name}: model {made.id[:12]}, {bytes_text(made.size)}")


def _numbers(text: str) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")] if text else []
        if not all(map(math.isfinite, numbers)):
            raise ValueError("a weight is not finite")
    except ValueError as error:
        raise UsageError(f"--weights {text}", why=str(error), fix="write numbers with commas: 0.7,0.3") from error
    return numbers
