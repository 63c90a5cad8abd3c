"""The cost of training a model: parameters, memory and time on this machine, before anything is trained.

The counting is `models.parameter_counts`'s. The time is an estimate: the float32 matrix-product peak of this machine's
CPU, measured for a moment, times the share of it that a training step is assumed to reach. The default amount of text
is 20 tokens a parameter, about the best use of a fixed compute (Hoffmann et al. 2022, table 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from seedbed.core.artifacts import Library
from seedbed.core.config import to_dict
from seedbed.core.errors import CapacityError, NotFoundError, UsageError, did_you_mean
from seedbed.core.machine import cores, matmul_flops, memory_bytes, processor
from seedbed.core.progress import say
from seedbed.core.units import bytes_text
from seedbed.models.config import AnyConfig, ModelConfig, stacks
from seedbed.models.parameter_counts import BYTES, ParameterCounts, count_parameters
from seedbed.models.presets import default_model, presets
from seedbed.models.store import read_config, read_description
from seedbed.pipeline.recipe import Recipe, check_inputs, load_recipe
from seedbed.pipeline.stages.tokenizer import TokenizerStage
from seedbed.pipeline.stages.train import TrainStage

UTILISATION = 0.5
"""Share of the matrix-product peak that a training step is assumed to reach; `benchmarks/train.py` measures it."""

TOKENS_PER_PARAMETER = 20


@dataclass(frozen=True)
class Target:
    """The model that is planned, with a recipe's batch and its length in tokens or in minutes; 0 is not set."""

    title: str
    config: AnyConfig
    batch: int = 0
    tokens: int = 0
    minutes: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """A plan with its training memory in bytes by use and in all, its time on a machine of ``peak`` FLOP a second."""

    target: Target
    plan: ParameterCounts
    batch: int
    tokens: int
    memory: dict[str, float]
    peak: float
    tokens_per_second: float

    @property
    def seconds(self) -> float:
        """Return the expected training time."""
        return self.tokens / self.tokens_per_second


def default_target(depth: int | None, vocab_size: int | None, context: int | None) -> Target:
    """Return our default shape with so many layers. Raises UsageError where no depth is given."""
    if depth is None:
        fix = "name a preset, recipe or model, or give --depth 4"
        raise UsageError("there is nothing to plan", why="neither a TARGET nor --depth is given", fix=fix)
    config = default_model(depth, vocab_size or ModelConfig.vocab_size, context or ModelConfig.max_length)
    return Target(f"depth {depth}", config)


def find_target(name: str) -> Target:
    """Return a preset, a recipe (as `train` finds it), or a stored model, in this order. Raises NotFoundError."""
    if name in presets():
        return Target(name, presets()[name])
    try:
        recipe = load_recipe(name)
    except NotFoundError as no_recipe:
        if name.endswith(".toml"):
            raise
        missing = no_recipe
    else:
        return recipe_target(name, recipe)
    try:
        return Target(name, _stored_shape(name))
    except NotFoundError as error:
        known = [*presets(), *Library().names()]
        why = f"the presets are {', '.join(presets())}; recipe: {missing.why}; model: {error.why}"
        fix = did_you_mean(name, known, "see `seedbed ls --kind model`, or plan with --depth")
        raise NotFoundError(f"there is no preset, recipe or model {name!r}", why=why, fix=fix) from error


def recipe_target(title: str, recipe: Recipe) -> Target:
    """Return a recipe's first model and length; a length in epochs depends on the text, which is not read here.

    Raises SeedbedError, as running the recipe would, where something that it names is missing.
    """
    check_inputs(recipe, Library())
    stage = next((stage for stage in recipe.stage if isinstance(stage, TrainStage)), None)
    if stage is None:
        raise UsageError(f"{title} trains nothing", why="it has no stage of kind train", fix="plan another recipe")
    config, train = _recipe_shape(recipe, stage), stage.settings
    tokens = train.steps * train.batch * stacks(config)[-1].max_length or train.tokens
    if not tokens and train.epochs:
        say(f"the length in epochs depends on the text; {TOKENS_PER_PARAMETER} tokens a parameter are assumed")
    minutes = 0.0 if tokens or train.epochs else train.minutes
    return Target(title, config, train.micro_batch or train.batch, tokens, minutes)


def _recipe_shape(recipe: Recipe, stage: TrainStage) -> AnyConfig:
    """Return the stage's own model, or the one it begins from, in the stage's context."""
    if not stage.begin:
        sizes = [one.settings.vocab_size for one in recipe.stage if isinstance(one, TokenizerStage)]
        return stage.model.config(sizes[0] if sizes else ModelConfig.vocab_size)
    config = _stored_shape(stage.begin)
    if not isinstance(config, ModelConfig):
        return config
    return replace(config, max_length=min(config.max_length, stage.context or config.max_length))


def _stored_shape(name: str) -> AnyConfig:
    artifact = Library().get(name, "model")
    artifact.verify()
    return read_config(read_description(artifact)["model"])


def estimate(target: Target, batch: int | None = None, tokens: int | None = None) -> Estimate:
    """Estimate the cost of a target on this machine."""
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
    memory["total"] = sum(memory.values())
    peak = matmul_flops()
    rate = peak * UTILISATION / made.flops_per_token()
    wanted = tokens or target.tokens or round(60 * target.minutes * rate) or TOKENS_PER_PARAMETER * made.total
    return Estimate(target, made, batch, wanted, memory, peak, rate)


def check_memory(made: Estimate) -> None:
    """Raise CapacityError where training needs more memory than this machine has."""
    needed, here = made.memory["total"], memory_bytes()
    if not here:
        say("this machine does not tell how much memory it has; nothing was checked")
    elif needed > here:
        why = f"it needs {bytes_text(needed)} of memory with a batch of {made.batch}; here are {bytes_text(here)}"
        fix = "choose a smaller depth, context or batch"
        raise CapacityError(f"training {made.target.title} does not fit", why=why, fix=fix)


def weight_sizes(plan: ParameterCounts) -> dict[str, float]:
    """Return the bytes of all weights by precision."""
    return {precision: plan.weight_bytes(precision) for precision in BYTES}


def to_json(made: Estimate) -> dict[str, Any]:
    """Return an estimate as JSON values."""
    plan, seconds = made.plan, made.seconds
    machine = {"processor": processor(), "cores": cores(), "memory_bytes": memory_bytes(), "matmul_flops": made.peak}
    time = {"tokens_per_second": made.tokens_per_second, "seconds": seconds, "days": seconds / 86400}
    return {
        "target": made.target.title,
        "model": to_dict(made.target.config),
        "parameters": {**plan.parameters, "total": plan.total},
        "weight_bytes": weight_sizes(plan),
        "training": {"batch": made.batch, "tokens": made.tokens, "memory_bytes": made.memory},
        "flops_per_token": {"training": plan.flops_per_token(), "generation": plan.flops_per_token(training=False)},
        "machine": machine,
        "time": {"assumed_utilisation": UTILISATION, **time},
    }
