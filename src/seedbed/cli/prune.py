"""`seedbed prune`: a copy of a model without what it hardly uses, with what that costs and saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.artifacts import Library
from seedbed.core.units import bytes_text, count_text
from seedbed.transform.methods import PruneMethod


@click.command("prune")
@options.model
@options.choice("--method", of=PruneMethod, text="The part that is removed.", required=True)
@click.option("--share", type=float, help="Share that is taken away, between 0 and 1; 2:4 takes half.")
@click.option("--global", "everywhere", is_flag=True, help="With magnitude: the smallest of all layers together.")
@click.option("--text", type=click.Path(path_type=Path), help="A text file to judge by and measure on.")
@options.name("Name of the result. [default: MODEL-METHOD]")
@options.measure
@click.option("--speed", is_flag=True, help="Time both too, in turn.")
@options.common_flags
def prune_command(model: str, name: str | None, measure: bool, speed: bool, as_json: bool, **given: Any) -> None:
    """Store MODEL without a share of its weights, heads, layers or feed-forward channels, and compare the two.

    heads, layers and width leave a smaller model that is faster everywhere; magnitude, 2:4 and wanda set single weights
    to zero, which by itself saves nothing here. What goes is judged on text: --text, or the start of the model's own
    corpus; by weights alone where there is none. Wanda always needs text; magnitude never uses it.

    \b
    Example:
      seedbed prune quickstart --method width --share 0.25
      seedbed prune quickstart --method layers --share 0.2 --text notes.txt --name short
    """
    from seedbed.app.prune import Pruning, pruned_copy

    library, wanted = Library(), Pruning(**given)
    made = pruned_copy(library, model, wanted, name, measure=measure, speed=speed)
    if as_json:
        record = {"original": library.get(model, "model").id, "id": made.artifact.id, **made.artifact.manifest.config}
        print_json(record | {"before": made.before, "after": made.after})
        return
    _print(made.before, made.after)


def _print(before: dict[str, Any], after: dict[str, Any]) -> None:
    rows = []
    for key, title, form in _ROWS:
        if key in after:
            old, new = before.get(key), after[key]
            change = f"{new / old - 1:+.1%}" if old else ""
            rows.append([title, "" if old is None else form(old), form(new), change])
    print_table(["", "before", "after", "change"], rows, right=(1, 2, 3))


def _decimals(count: int) -> Any:
    return lambda value: f"{value:.{count}f}"


_ROWS: tuple[tuple[str, str, Any], ...] = (
    ("parameters", "parameters", count_text),
    ("nonzero", "not zero", count_text),
    ("bytes", "size", bytes_text),
    ("flops_per_token", "FLOPs a token", count_text),
    ("bits_per_byte", "bits per byte", _decimals(4)),
    ("same_best_token", "same best token", lambda value: f"{value:.1%}"),
    ("divergence", "KL, nats a token", _decimals(5)),
    ("prefill_tokens_per_second", "prefill, tokens/s", lambda value: f"{value:,.0f}"),
    ("decode_tokens_per_second", "decode, tokens/s", lambda value: f"{value:,.0f}"),
)
