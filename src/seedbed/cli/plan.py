"""`seedbed plan`: a model's parameters, memory, FLOPs and training time, before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from seedbed.cli import options
from seedbed.cli.common import print_json, print_table
from seedbed.core.errors import UsageError
from seedbed.core.progress import duration
from seedbed.core.terminal import echo
from seedbed.core.units import bytes_text, count_text

if TYPE_CHECKING:
    from seedbed.app.plan import Estimate


@click.command("plan")
@click.argument("target", required=False)
@click.option("--depth", type=click.IntRange(1, 1000), help="Our default shape with so many blocks, 64 wide a block.")
@click.option("--vocab-size", type=click.IntRange(2, 10**7), help="With --depth: vocabulary size. [default: 4096]")
@options.context("With --depth: longest context. [default: 512]")
@click.option("--batch", type=click.IntRange(1, 10**6), help="Sequences at once. [default: the recipe's, else 16]")
@click.option("--tokens", type=click.IntRange(1), help="Training tokens. [default: the recipe's, else 20 a parameter]")
@click.option("--check", is_flag=True, help="Exit 5 if training needs more memory than this machine has.")
@options.common_flags
def plan_command(
    target: str | None, batch: int | None, tokens: int | None, check: bool, as_json: bool, **shape: int | None
) -> None:
    """Count a model's cost before training it.

    TARGET is a published shape (gpt1, gpt2, gpt2-medium, gpt2-large, gpt2-xl, gpt3, llama-7b), a recipe (a .toml file
    or the name of one that comes with seedbed), or a model of the library. Without one, --depth is the one dial.

    $ seedbed plan gpt3
    $ seedbed plan --depth 6 --vocab-size 8192 --tokens 100000000
    $ seedbed plan quickstart --check
    """
    from seedbed.app.plan import check_memory, default_target, estimate, find_target, to_json

    if target is None:
        chosen = default_target(**shape)
    elif all(value is None for value in shape.values()):
        chosen = find_target(target)
    else:
        why = "--depth, --vocab-size and --context describe a model that is not named"
        raise UsageError(f"{target} has a shape of its own", why=why, fix="leave out either the name or these options")
    made = estimate(chosen, batch, tokens)
    if as_json:
        print_json(to_json(made))
    else:
        _print(made)
    if check:
        check_memory(made)


def _print(made: Estimate) -> None:
    from seedbed.app.plan import UTILISATION, weight_sizes
    from seedbed.models.config import stacks

    plan, parts = made.plan, stacks(made.target.config)
    layers, last = " + ".join(str(part.n_layers) for part in parts), parts[-1]
    echo(
        f"{made.target.title}: {layers} layers, {last.d_model} wide, {last.n_heads} heads, "
        f"vocabulary {last.vocab_size:,}, context {last.max_length:,}\n"
    )
    counts = {kind: count for kind, count in plan.parameters.items() if count} | {"total": plan.total}
    rows = [[kind, f"{count:,}", f"{count / plan.total:.1%}"] for kind, count in counts.items()]
    print_table(["parameters", "count", "share"], rows, right=(1, 2))
    for title, sizes in (
        ("weights in", weight_sizes(plan)),
        (f"training memory (float32, batch {made.batch})", made.memory),
    ):
        echo()
        print_table([title, "size"], [[name, bytes_text(size)] for name, size in sizes.items()], right=(1,))
    echo()
    training, generation = (plan.flops_per_token(training=kind) for kind in (True, False))
    echo(f"FLOPs per token: training {training:.3g}, generation {generation:.3g}")
    rate = f"{made.tokens_per_second:,.0f}" if made.tokens_per_second >= 10 else f"{made.tokens_per_second:.2g}"
    echo(
        f"on this machine: {made.peak / 1e9:,.0f} GFLOP/s in matrix products (float32, measured); at an assumed "
        f"{UTILISATION:.0%} of it {rate} tokens/s"
    )
    per_parameter = f"{made.tokens / plan.total:.3g} a parameter"
    echo(f"training on {count_text(made.tokens)} tokens ({per_parameter}): {duration(made.seconds)}")
