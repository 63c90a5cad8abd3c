"""Adapters of a model: found by published names or ours, and added into its weights.

An adapter trained elsewhere names layers as its family does, where q, k and v may be one layer. The family's table of
names takes ``up`` apart like the weight itself: rows are outputs in both. So the parts stay low-rank and serve at run
time too.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Size, Tensor

from seedbed.core.errors import UsageError
from seedbed.models.config import AnyConfig, ModelConfig
from seedbed.models.factory import AnyModel, skeleton
from seedbed.models.families.base import Family
from seedbed.models.families.registry import FAMILIES, publish
from seedbed.models.families.weight_mapping import SAME, Conversion, Row, expand
from seedbed.nn.lora import Adapter, LowRank
from seedbed.transform.derived import StoredModel

_EMBEDDING, _OUTPUT = "embedding.weight", "output.weight"


def family_of(stored: StoredModel) -> Family[Any] | None:
    """Return the family a model came from, or that it would be exported as; None where there is none."""
    named = stored.description.get("published", {}).get("family")
    try:
        return next((family for family in FAMILIES if family.name == named), None) or publish(stored.config)[0]
    except UsageError:
        return None


def to_ours(adapter: Adapter, config: AnyConfig, family: Family[Any] | None) -> Adapter:
    """Rename an adapter to our paths and names; UsageError where a layer is not in the model or of another size."""
    model = skeleton(config)
    shapes = {name: parameter.shape for name, parameter in model.named_parameters(remove_duplicate=False)}
    rows = _rows(model, config, family)
    additions: dict[str, LowRank] = {}
    for path, part in adapter.additions.items():
        for name, own in _split_addition(_row(f"{path}.weight", rows), part, shapes):
            additions[name.removesuffix(".weight")] = own
    replaced: dict[str, Tensor] = {}
    for name, tensor in adapter.replaced.items():
        row = _row(name, rows)
        replaced.update(_split(row, tensor, [shapes[ours] for ours in row.ours]))
    return Adapter(additions, replaced)


def merge_adapters(
    stored: StoredModel, adapters: Sequence[Adapter], weights: Sequence[float]
) -> tuple[AnyConfig, Iterator[tuple[str, Tensor]]]:
    """Merge ``W + Σ weight · scale · up · down`` into every layer; return the configuration and the tensors.

    An input embedding that is also the output layer becomes two tables where an adapter changes one of them, which is
    what it does at run time. Computed in float32 and rounded once to the precision the weights are stored in.

    Args:
        adapters: by our names (:func:`to_ours`). weights: a factor for each.

    Raises:
        UsageError: an adapter changes a tensor that is shared in another way.
    """
    changed = {f"{path}.weight" for adapter in adapters for path in adapter.additions}
    changed |= {name for adapter in adapters for name in adapter.replaced}
    config, shared = stored.config, skeleton(stored.config).shared()
    if touched := changed & {*shared, *shared.values()}:
        if shared != {_OUTPUT: _EMBEDDING} or not isinstance(config, ModelConfig):
            raise UsageError(
                "the adapter changes a tensor that has two places in the model",
                why=f"{', '.join(sorted(touched))} is shared, and the adapter changes one of its places",
                fix="train the adapter without this layer",
            )
        config = replace(config, tied=False)
    return config, _merged(stored, adapters, weights, untie=config is not stored.config)


def _merged(
    stored: StoredModel, adapters: Sequence[Adapter], weights: Sequence[float], *, untie: bool
) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in stored:
        yield name, add(name, tensor, adapters, weights)
        if untie and name == _EMBEDDING:
            yield _OUTPUT, add(_OUTPUT, tensor, adapters, weights)


def add(name: str, tensor: Tensor, adapters: Sequence[Adapter], weights: Sequence[float]) -> Tensor:
    """Return one parameter with all adapters added; one that none changes keeps its bits."""
    pairs, path = list(zip(adapters, weights, strict=True)), name.removesuffix(".weight")
    replaced = [(weight, adapter.replaced[name]) for adapter, weight in pairs if name in adapter.replaced]
    added = [(weight, adapter.additions[path]) for adapter, weight in pairs if path in adapter.additions]
    if not replaced and not added:
        return tensor
    total = base = tensor.float()
    if len(replaced) == 1 and replaced[0][0] == 1:
        total = replaced[0][1].float()  # exactly
    else:
        for weight, new in replaced:
            total = total + weight * (new.float() - base)
    for weight, part in added:
        total = total + weight * part.scale * (part.up @ part.down)
    return total.to(tensor.dtype)


def _rows(model: AnyModel, config: AnyConfig, family: Family[Any] | None) -> dict[str, Row]:
    """Return rows by every name that a parameter may have: ours, and the family's."""
    ours = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    rows = {name: Row((name,), name, SAME) for name in ours}
    if family:
        for row in expand(family.table(config), model):
            rows.update(dict.fromkeys(family.spellings(row.theirs), row))
    return rows


def _row(name: str, rows: Mapping[str, Row]) -> Row:
    if name in rows:
        return rows[name]
    near = difflib.get_close_matches(name, rows, n=1, cutoff=0.5)
    raise UsageError(
        "the adapter was made for another model",
        why=f"it changes {name}, which is not there" + (f"; the nearest is {near[0]}" if near else ""),
        fix="name the model it was trained on",
    )


def _split_addition(row: Row, part: LowRank, shapes: Mapping[str, Size]) -> Iterator[tuple[str, LowRank]]:
    """Split one published layer's addition into those of our layers."""
    sizes = [shapes[name] for name in row.ours]
    if any(len(size) != 2 or size[1] != part.down.shape[1] for size in sizes):
        raise _misfit(row, part.down, sizes)
    up = part.up.T if _transposes(row.conversion, sizes) else part.up
    for name, own in _split(row, up, [Size((size[0], part.up.shape[1])) for size in sizes]):
        yield name, LowRank(part.down, own.contiguous(), part.scale)


def _split(row: Row, tensor: Tensor, sizes: Sequence[Size]) -> Iterator[tuple[str, Tensor]]:
    try:
        parts = row.conversion.split(tensor, sizes)
    except (RuntimeError, ValueError) as error:
        raise _misfit(row, tensor, sizes) from error
    if [part.shape for part in parts] != list(sizes):
        raise _misfit(row, tensor, sizes)
    yield from zip(row.ours, parts, strict=True)


def _transposes(conversion: Conversion, sizes: Sequence[Size]) -> bool:
    """Return whether the published weight has inputs before outputs."""
    inputs = sum(size[0] for size in sizes) + 1  # so that the two axes can be told apart
    return conversion.join([torch.empty(size[0], inputs, device="meta") for size in sizes]).shape[0] == inputs


def _misfit(row: Row, tensor: Tensor, sizes: Sequence[Size]) -> UsageError:
    if {*row.ours} <= {_EMBEDDING, _OUTPUT} and tensor.ndim == 2:
        return UsageError(
            "the adapter has another number of rows than the model",
            why=f"{row.theirs} has {tensor.shape[0]} of them, the model's has {sizes[0][0]}",
            fix="for tokens that were added: grow the model with transformers (resize_token_embeddings), save it with "
            "the adapter's tokenizer, import that and merge into it",
        )
    return UsageError(
        "the adapter was made for a model of another size",
        why=f"{row.theirs}: {tuple(tensor.shape)} does not fit {' and '.join(str(tuple(size)) for size in sizes)}",
        fix="name the model it was trained on",
    )
