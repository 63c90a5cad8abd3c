"""Structured pruning: whole heads, layers or feed-forward channels go, and what is left is a smaller ordinary model.

A plan is a smaller configuration and, for each of its tensors, the rows and columns of the old tensor that it keeps. So
it is applied tensor by tensor, to a model in memory or a file.

A configuration has one number of heads and channels for all layers, so every layer keeps as many: its own best ones.
The residual stream's width is kept. Every layer writes to all of its channels and the norms divide by their common
length, so a channel that is dispensable in one layer carries another; what works is rotating the stream first
(SliceGPT, Ashkboos et al. 2024), which replaces the norms and leaves an architecture of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from seedbed.core.errors import UsageError
from seedbed.models.config import AnyConfig, ModelConfig
from seedbed.models.factory import skeleton
from seedbed.models.stack import attends

_ROWS, _COLUMNS = 0, 1


@dataclass(frozen=True)
class ModelPart:
    """The source of a tensor: indices kept along some axes of an old one."""

    name: str
    kept: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class PruningPlan:
    """A smaller model: its configuration, and its stored tensors by name."""

    config: ModelConfig
    parts: Mapping[str, ModelPart]


def pruned_tensors(plan: PruningPlan, read: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the smaller model's tensors, one at a time; ``read`` gives the old ones by name."""
    for name, part in plan.parts.items():
        tensor = read(part.name)
        for axis, kept in part.kept.items():
            tensor = tensor.index_select(axis, kept.to(tensor.device))
        yield name, tensor


def keep_layers(config: ModelConfig, kept: Sequence[int]) -> PruningPlan:
    """Keep these layers, in their order."""
    mixers = tuple(config.mixer(layer) for layer in kept)
    fields: dict[str, Any] = {
        "n_layers": len(kept),
        "mixers": mixers[:1] if len(set(mixers)) == 1 else mixers,
        "window": config.window if "sliding" in mixers else None,
        "dense_layers": tuple(place for place, layer in enumerate(kept) if layer in config.dense_layers),
    }
    new = replace(config, **fields)
    parts = {}
    for name in stored_names(new):
        old = re.sub(r"^blocks\.(\d+)\.", lambda found: f"blocks.{kept[int(found[1])]}.", name)
        parts[name] = ModelPart(old)
    return PruningPlan(new, parts)


def keep_heads(config: ModelConfig, kept: Mapping[int, Tensor]) -> PruningPlan:
    """Keep these key/value heads of each attention layer, with the query heads that read them.

    Raises UsageError as :func:`check_heads`.
    """
    check_heads(config)
    count = len(next(iter(kept.values())))
    group = config.n_heads // config.kv_heads
    kv_heads = None if group == 1 else count
    new = replace(config, n_heads=count * group, n_kv_heads=kv_heads, head_dim=config.head_size)
    parts = {}
    for name in stored_names(new):
        found = re.fullmatch(r"blocks\.(\d+)\.mixer\.(q|k|v|out)\.(weight|bias)", name)
        if found is None or (found[2] == "out" and found[3] == "bias"):
            parts[name] = ModelPart(name)
            continue
        size = config.head_size * (group if found[2] in ("q", "out") else 1)
        channels = spread(kept[int(found[1])], size)
        parts[name] = ModelPart(name, {_COLUMNS if found[2] == "out" else _ROWS: channels})
    return PruningPlan(new, parts)


def keep_channels(config: ModelConfig, kept: Mapping[str, Tensor]) -> PruningPlan:
    """Keep these hidden channels of each feed-forward layer or expert, given by its path."""
    width = {path: len(indices) for path, indices in kept.items()}
    dense = {count for path, count in width.items() if ".experts." not in path}
    expert = {count for path, count in width.items() if ".experts." in path}
    new = replace(config, d_ff=dense.pop() if dense else config.d_ff)
    if expert and config.experts is not None:
        new = replace(new, experts=replace(config.experts, hidden=expert.pop()))
    parts = {}
    for name in stored_names(new):
        path, _, rest = name.rpartition(".feedforward.")
        found = re.fullmatch(r"(experts\.\d+\.)?(gate|up|down)\.(weight|bias)", rest)
        if found is None or not path or (found[2] == "down" and found[3] == "bias"):
            parts[name] = ModelPart(name)
            continue
        own = f"{path}.feedforward.{found[1] or ''}".rstrip(".")
        parts[name] = ModelPart(name, {_COLUMNS if found[2] == "down" else _ROWS: kept[own]})
    return PruningPlan(new, parts)


def check_heads(config: ModelConfig) -> None:
    """Raise UsageError where the number or place of heads is part of what they compute."""
    reason = ""
    if not any(attends(config.mixer(layer)) for layer in range(config.n_layers)):
        reason = "no layer has attention"
    elif config.position in ("alibi", "relative"):
        reason = f"with {config.position} positions every head has a bias that comes from its place among all heads"
    elif config.cross:
        reason = "heads that attend to an encoder would have to go with them"
    if reason:
        raise UsageError(
            "heads of this model cannot be pruned", why=reason, fix="prune layers or width (--method layers or width)"
        )


def stored_names(config: AnyConfig) -> list[str]:
    """Return the names of a model's stored tensors: tied ones once."""
    model = skeleton(config)
    shared = model.shared()
    return [name for name, _ in model.named_parameters(remove_duplicate=False) if name not in shared]


def spread(heads: Tensor, size: int) -> Tensor:
    """Return the channels of heads of ``size`` channels each."""
    return (heads[:, None] * size + torch.arange(size)).flatten()
