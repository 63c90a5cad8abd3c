"""One model out of several of the same shape, tensor by tensor.

- linear: the mean, weighted (model soups, Wortsman et al. 2022, equation 2).
- slerp: from one to the other on the arc between their directions (Shoemake 1985, section 3.3), the length going
  linearly; so a tensor half-way is not shorter than both, as a mean of two directions is.
- task: a base plus what each model has learned since, weighted (task arithmetic, Ilharco et al. 2022, section 2).

Computed in float32 and rounded once, to the precision of the first model. Only models with a common ancestor are near
enough to each other for any of this to mean something.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from typing import get_args

import torch
from torch import Tensor

from seedbed.core import config as settings
from seedbed.core.errors import UsageError
from seedbed.core.progress import track
from seedbed.models.store import load_tokenizer
from seedbed.transform.derived import StoredModel
from seedbed.transform.methods import MergeMethod

_PARALLEL = 0.9995
"""Cosine from which directions count as one line: there the sine that slerp divides by has few digits left."""


def merge(
    models: Sequence[StoredModel], weights: Sequence[float], method: MergeMethod = "linear"
) -> Iterator[tuple[str, Tensor]]:
    """Yield the merged tensors by name, computed as they are asked for.

    Args:
        models: of one shape and vocabulary. For "task" the first is the base.
        weights: one a model, for "task" one for each but the base. For "linear" and "slerp" only their proportions
            count.

    Raises:
        UsageError: the models differ in more than weights, or the method cannot take these models and weights.
    """
    combine = _combination(models, weights, method)
    for other in models[1:]:
        require_alike(models[0], other)
    return _merged(models, combine)


def _merged(
    models: Sequence[StoredModel], combine: Callable[[Sequence[Tensor]], Tensor]
) -> Iterator[tuple[str, Tensor]]:
    first = models[0].tensors
    for name in track(first.names(), "merging", len(first.names()), "tensors"):
        yield name, combine([model.tensors.read(name) for model in models]).to(first.dtype(name))


def _combination(
    models: Sequence[StoredModel], weights: Sequence[float], method: MergeMethod
) -> Callable[[Sequence[Tensor]], Tensor]:
    """Return the method as a function of one tensor of each model."""
    count = len(models) - (method == "task")
    problem = ""
    if method not in get_args(MergeMethod):
        problem = f"the methods are {', '.join(get_args(MergeMethod))}"
    elif count < 1 or len(weights) != count:
        problem = f"there are {len(weights)} weights for {count} models"
    elif method == "slerp" and (count != 2 or min(weights) < 0):
        problem = "slerp goes from one model to one other, with weights that are not negative"
    elif method != "task" and not sum(weights):
        problem = "the weights sum to zero"
    if problem:
        raise UsageError(
            f"these models cannot be merged by {method!r}",
            why=problem,
            fix="give --weights one number a model, and see `seedbed merge --help` for the methods",
        )
    if method == "task":
        return partial(add_tasks, weights=weights)
    shares = [weight / sum(weights) for weight in weights]
    if method == "slerp":
        return lambda tensors: slerp(tensors[0], tensors[1], shares[1])
    return partial(linear, weights=shares)


def require_alike(first: StoredModel, other: StoredModel) -> None:
    """Raise UsageError, which names the fields, for models that differ in shape or vocabulary.

    Chat templates and the names of special tokens may differ: they touch no weights. So may tokens that only one of
    them has a name for.
    """
    mine, theirs = (_flat(settings.to_dict(model.config)) for model in (first, other))
    differ = sorted(
        f"{key} ({mine.get(key, 'unset')} and {theirs.get(key, 'unset')})"
        for key in mine.keys() | theirs.keys()
        if mine.get(key) != theirs.get(key) and not key.endswith("dropout")
    )
    if first.description["tokenizer"] != other.description["tokenizer"]:
        one, two = (load_tokenizer(model.artifact).vocabulary for model in (first, other))
        if clash := _clash(one, two):
            differ.insert(0, f"the vocabulary ({clash})")
    if differ:
        named = ", ".join(differ[:4]) + (f" and {len(differ) - 4} more settings" if len(differ) > 4 else "")
        raise UsageError(
            f"models {first.artifact.id[:12]} and {other.artifact.id[:12]} cannot be merged",
            why=f"they differ in {named}; weights in the same place mean different things",
            fix="merge models that were trained from the same one",
        )


def _clash(first: Mapping[str, int], other: Mapping[str, int]) -> str:
    """Return the first token that two vocabularies give different meanings, in words; "" where they agree."""
    pieces = {index: piece for piece, index in other.items()}
    for piece, index in sorted(first.items(), key=lambda item: item[1]):
        if pieces.get(index, piece) != piece:
            return f"token {index} is {piece!r} and {pieces[index]!r}"
        if other.get(piece, index) != index:
            return f"{piece!r} is token {index} and {other[piece]}"
    return ""


def linear(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return ``Σ w t``, float32; a model of weight 0 leaves no trace, not even of a NaN."""
    return reduce(torch.add, (weight * t.float() for t, weight in zip(tensors, weights, strict=True) if weight))


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """Interpolate from ``first`` (share 0) to ``second`` (share 1), float32.

    With θ the angle between them: direction ``(sin((1 - t) θ) a + sin(t θ) b) / sin θ`` of the unit vectors a and b,
    length ``(1 - t) |first| + t |second|``. Linear where one is zero or they lie nearly on a line.
    """
    if share in (0, 1):
        return (second if share else first).float()
    one, two = first.float(), second.float()
    lengths = torch.linalg.vector_norm(one), torch.linalg.vector_norm(two)
    cosine = (one * two).sum().double() / (lengths[0].double() * lengths[1].double())
    if not cosine.abs() < _PARALLEL:  # nor where it is not a number
        return (1 - share) * one + share * two
    angle = torch.arccos(cosine)
    length = (1 - share) * lengths[0] + share * lengths[1]
    parts = torch.sin((1 - share) * angle), torch.sin(share * angle)
    to_one, to_two = (length * part / torch.sin(angle) / own for part, own in zip(parts, lengths, strict=True))
    merged: Tensor = to_one.float() * one + to_two.float() * two
    return merged


def add_tasks(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return ``base + Σ w (t - base)``, float32."""
    base = tensors[0].float()
    total = base
    for tensor, weight in zip(tensors[1:], weights, strict=True):
        total = total + weight * (tensor.float() - base)
    return total


def _flat(table: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in table.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
