"""`seedbed plan`: what a model costs before it is trained: parameters, bytes, memory, FLOPs and time on this machine.

The counting is `models.parameter_counts`'s. The time is an estimate: the float32 matrix-product peak of this machine's
CPU, measured for a moment, times the share of it that a training step is assumed to reach. The default amount of text
is 20 tokens a parameter, about the best use of a fixed compute (Hoffmann et al. 2022, table 3).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.common import bytes_text, common_flags, count_text, print_json, print_table
from seedbed.core.errors import CapacityError, NotFoundError, UsageError
from seedbed.core.progress import duration, say

if TYPE_CHECKING:
    from seedbed.models.config import AnyConfig
    from seedbed.models.parameter_counts import ParameterCounts
    from seedbed.pipeline.recipe import Recipe
    from seedbed.pipeline.stages.train import TrainStage

UTILISATION = 0.5
"""Share of the matrix-product peak that a training step is assumed to reach; `benchmarks/train.py` measures it."""

TOKENS_PER_PARAMETER = 20


@dataclass(frozen=True)
class Target:
    """What is planned, with a recipe's batch and its length in tokens or in minutes; 0 is not set."""

    title: str
    config: AnyConfig
    batch: int = 0
    tokens: int = 0
    minutes: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A plan with its training memory in bytes by use, and its time on a machine of ``peak`` FLOP per second."""

    target: Target
    plan: ParameterCounts
    batch: int
    tokens: int
    memory: dict[str, float]
    peak: float
    tokens_per_second: float

    @property
    def seconds(self) -> float:
        """Expected training time."""
        return self.tokens / self.tokens_per_second


@click.command("plan")
@click.argument("target", required=False)
@click.option("--depth", type=click.IntRange(1, 1000), help="Our default shape with so many blocks, 64 wide a block.")
@click.option("--vocab", type=click.IntRange(2, 10**7), help="With --depth: tokens in the vocabulary. [default: 4096]")
@click.option("--context", type=click.IntRange(1, 10**7), help="With --depth: longest context. [default: 512]")
@click.option(
    "--batch", type=click.IntRange(1, 10**6), help="Sequences in one forward pass. [default: the recipe's, else 16]"
)
@click.option("--tokens", type=click.IntRange(1), help="Training tokens. [default: the recipe's, else 20 a parameter]")
@click.option("--check", is_flag=True, help="Exit 5 if training needs more memory than this machine has.")
@common_flags
def plan_command(
    target: str | None,
    depth: int | None,
    vocab: int | None,
    context: int | None,
    batch: int | None,
    tokens: int | None,
    check: bool,
    as_json: bool,
) -> None:
    """Count a model's cost before training it.

    TARGET is a published shape (gpt1, gpt2, gpt2-medium, gpt2-large, gpt2-xl, gpt3, llama-7b), a recipe (.toml), or a
    model of the library. Without one, --depth is the one dial.

    \b
    Example:
      seedbed plan gpt3
      seedbed plan --depth 6 --vocab 8192 --tokens 100000000
      seedbed plan recipes/quickstart.toml --check
    """
    if target is None:
        chosen = _default_shape(depth, vocab, context)
    elif (depth, vocab, context) == (None, None, None):
        chosen = _find(target)
    else:
        raise UsageError(
            f"{target} has a shape of its own",
            why="--depth, --vocab and --context describe a model that is not named",
            fix="leave out either the name or these options",
        )
    made = estimate(chosen, batch, tokens)
    if as_json:
        print_json(to_json(made))
    else:
        _print(made)
    if check:
        _check(made)


def _default_shape(depth: int | None, vocab: int | None, context: int | None) -> Target:
    from seedbed.models.config import ModelConfig
    from seedbed.models.presets import default_model

    if depth is None:
        raise UsageError(
            "there is nothing to plan",
            why="neither a TARGET nor --depth is given",
            fix="name a preset, recipe or model, or give --depth 4",
        )
    config = default_model(depth, vocab or ModelConfig.vocab_size, context or ModelConfig.max_length)
    return Target(f"depth {depth}", config)


def _find(name: str) -> Target:
    """A preset, a recipe, or a stored model, looked for in this order."""
    from seedbed.models.presets import presets

    if name in presets():
        return Target(name, presets()[name])
    if name.endswith(".toml"):
        from seedbed.pipeline.recipe import load_recipe

        return recipe_target(name, load_recipe(Path(name)))
    return Target(name, _stored_shape(name, presets()))


def recipe_target(title: str, recipe: Recipe) -> Target:
    """A recipe's first model and length; a length in epochs depends on the text, which is not read here.

    Raises:
        UsageError: the recipe trains nothing.
    """
    from seedbed.models.config import stacks
    from seedbed.pipeline.stages.train import TrainStage

    stage = next((stage for stage in recipe.stage if isinstance(stage, TrainStage)), None)
    if stage is None:
        raise UsageError(f"{title} trains nothing", why="it has no stage of kind train", fix="plan another recipe")
    config, train = _recipe_shape(recipe, stage), stage.settings
    tokens = train.steps * train.batch * stacks(config)[-1].max_length or train.tokens
    if not tokens and train.epochs:
        say(f"the length in epochs depends on the text; {TOKENS_PER_PARAMETER} tokens a parameter are assumed")
    return Target(
        title, config, train.micro_batch or train.batch, tokens, 0.0 if tokens or train.epochs else train.minutes
    )


def _recipe_shape(recipe: Recipe, stage: TrainStage) -> AnyConfig:
    """A recipe's own model, or the one it begins from, in the recipe's context."""
    from dataclasses import replace

    from seedbed.models.config import ModelConfig
    from seedbed.pipeline.stages.tokenizer import TokenizerStage

    if not stage.begin:
        sizes = [one.settings.vocab_size for one in recipe.stage if isinstance(one, TokenizerStage)]
        return stage.model.config(sizes[0] if sizes else ModelConfig.vocab_size)
    config = _stored_shape(stage.begin, ())
    if not isinstance(config, ModelConfig):
        return config
    return replace(config, max_length=min(config.max_length, stage.context or config.max_length))


def _stored_shape(name: str, presets: Iterable[str]) -> AnyConfig:
    from seedbed.core.artifacts import Library
    from seedbed.models.store import read_config, read_description

    library = Library()
    try:
        artifact = library.get(name, "model")
    except NotFoundError as error:
        near = difflib.get_close_matches(name, [*presets, *library.names()], n=1)
        raise NotFoundError(
            f"there is no preset or model {name!r}",
            why=f"the presets are {', '.join(presets)}; {error.why}",
            fix=f"did you mean `{near[0]}`?" if near else "see `seedbed ls --kind model`, or plan with --depth",
        ) from error
    artifact.verify()
    return read_config(read_description(artifact)["model"])


def estimate(target: Target, batch: int | None = None, tokens: int | None = None) -> Estimate:
    """What a target costs on this machine."""
    from seedbed.core.machine import matmul_flops
    from seedbed.models.config import stacks
    from seedbed.models.parameter_counts import count_parameters

    made, parts = count_parameters(target.config), stacks(target.config)
    batch, layers = batch or target.batch or 16, sum(part.n_layers for part in parts)
    everything, at_rest = (
        made.training_bytes(count, parts[0].d_model, layers) for count in (batch * parts[-1].max_length, 0)
    )
    memory = {
        "weights": made.weight_bytes("float32"),
        "gradients": made.weight_bytes("float32"),
        "optimizer (AdamW)": at_rest - 2 * made.weight_bytes("float32"),
        "activations": everything - at_rest,
    }
    peak = matmul_flops()
    rate = peak * UTILISATION / made.flops_per_token()
    wanted = tokens or target.tokens or round(60 * target.minutes * rate) or TOKENS_PER_PARAMETER * made.total
    return Estimate(target, made, batch, wanted, memory, peak, rate)


def _check(made: Estimate) -> None:
    from seedbed.core.machine import memory_bytes

    needed, here = sum(made.memory.values()), memory_bytes()
    if not here:
        say("this machine does not tell how much memory it has; nothing was checked")
    elif needed > here:
        raise CapacityError(
            f"training {made.target.title} does not fit",
            why=f"it needs {bytes_text(needed)} of memory with a batch of {made.batch}; here are {bytes_text(here)}",
            fix="choose a smaller depth, context or batch",
        )


def _print(made: Estimate) -> None:
    from seedbed.models.config import stacks

    plan, parts = made.plan, stacks(made.target.config)
    layers, last = " + ".join(str(part.n_layers) for part in parts), parts[-1]
    print(
        f"{made.target.title}: {layers} layers, {last.d_model} wide, {last.n_heads} heads, "
        f"vocabulary {last.vocab_size:,}, context {last.max_length:,}\n"
    )
    counts = {kind: count for kind, count in plan.parameters.items() if count} | {"total": plan.total}
    rows = [[kind, f"{count:,}", f"{count / plan.total:.1%}"] for kind, count in counts.items()]
    print_table(["parameters", "count", "share"], rows, right=(1, 2))
    print()
    print_table(["weights in", "size"], [[name, bytes_text(size)] for name, size in _sizes(plan).items()], right=(1,))
    print()
    used = made.memory | {"total": sum(made.memory.values())}
    title = f"training memory (float32, batch {made.batch})"
    print_table([title, "size"], [[name, bytes_text(size)] for name, size in used.items()], right=(1,))
    print()
    training, generation = (plan.flops_per_token(training=kind) for kind in (True, False))
    print(f"FLOPs per token: training {training:.3g}, generation {generation:.3g}")
    print(
        f"on this machine: {made.peak / 1e9:,.0f} GFLOP/s in matrix products (float32, measured); at an assumed "
        f"{UTILISATION:.0%} of it {_rate(made.tokens_per_second)} tokens/s"
    )
    per_parameter = f"{made.tokens / plan.total:.3g} a parameter"
    print(f"training on {count_text(made.tokens)} tokens ({per_parameter}): {duration(made.seconds)}")


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


def _sizes(plan: ParameterCounts) -> dict[str, float]:
    from seedbed.models.parameter_counts import BYTES

    return {precision: plan.weight_bytes(precision) for precision in BYTES}


def to_json(made: Estimate) -> dict[str, Any]:
    """An estimate for `--json`."""
    from seedbed.core.config import to_dict
    from seedbed.core.machine import cores, memory_bytes, processor

    plan = made.plan
    return {
        "target": made.target.title,
        "model": to_dict(made.target.config),
        "parameters": {**plan.parameters, "total": plan.total},
        "weight_bytes": _sizes(plan),
        "training": {
            "batch": made.batch,
            "tokens": made.tokens,
            "memory_bytes": made.memory | {"total": sum(made.memory.values())},
        },
        "flops_per_token": {"training": plan.flops_per_token(), "generation": plan.flops_per_token(training=False)},
        "machine": {
            "processor": processor(),
            "cores": cores(),
            "memory_bytes": memory_bytes(),
            "matmul_flops": made.peak,
        },
        "time": {
            "assumed_utilisation": UTILISATION,
            "tokens_per_second": made.tokens_per_second,
            "seconds": made.seconds,
            "days": made.seconds / 86400,
        },
    }
