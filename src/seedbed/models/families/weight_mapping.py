"""Weight mapping: the published tensor of each of our parameters, and its conversion. Read one way to load, the other
to save.

A row names tensors of all layers at once, ``{i}`` standing for the layer and ``{e}`` for the expert.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from seedbed.core.errors import CorruptError
from seedbed.core.progress import progress
from seedbed.models.checkpoint import Checkpoint
from seedbed.models.factory import AnyModel

Shapes = Sequence[torch.Size]


@dataclass(frozen=True)
class Conversion:
    """A two-way conversion of one published tensor: split into ours, given our shapes, and joined again."""

    split: Callable[[Tensor, Shapes], Sequence[Tensor]]
    join: Callable[[Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Row:
    """Our parameters (several where the published tensor is fused) and the published name.

    Several rows may name the same parameter: the first is written, the others are copies that files may have.
    ``optional``: zeros are meant where a file has none.
    """

    ours: tuple[str, ...]
    theirs: str
    conversion: Conversion
    optional: bool = False


def _stacked(theirs: Tensor, shapes: Shapes) -> Sequence[Tensor]:
    return torch.split(theirs, [shape[0] for shape in shapes])


def _transposed(theirs: Tensor) -> Tensor:
    return theirs.T if theirs.ndim == 2 else theirs


SAME = Conversion(lambda theirs, shapes: [theirs], lambda ours: ours[0])
TRANSPOSED = Conversion(lambda theirs, shapes: [_transposed(theirs)], lambda ours: _transposed(ours[0]))
STACKED = Conversion(_stacked, lambda ours: torch.cat(list(ours)))  # several of ours below each other
STACKED_TRANSPOSED = Conversion(
    lambda theirs, shapes: _stacked(_transposed(theirs), shapes), lambda ours: _transposed(torch.cat(list(ours)))
)


def by_head(heads: int) -> Conversion:
    """Convert between separate q, k, v and rows of the first head's q, k, v, then the second's … (BLOOM, GPT-NeoX)."""

    def split(theirs: Tensor, shapes: Shapes) -> Sequence[Tensor]:
        parts = theirs.view(heads, 3, -1, *theirs.shape[1:]).unbind(1)
        return [part.flatten(0, 1) for part in parts]

    def join(ours: Sequence[Tensor]) -> Tensor:
        return torch.stack([part.view(heads, -1, *part.shape[1:]) for part in ours], 1).flatten(0, 2)

    return Conversion(split, join)


def layers(
    names: Mapping[str, str], ours: str = "", theirs: str = "", *, alone: Conversion = SAME, fused: Conversion = STACKED
) -> list[Row]:
    """Return the rows of linear layers, norms and embeddings by name, each below its prefix: weights and biases.

    Several names of ours, with spaces between, are ``fused`` in one published layer. Rows of parameters that a model
    lacks are left out when the table is used.
    """
    rows = []
    for own, its in names.items():
        parts = [ours + name for name in own.split()]
        conversion = alone if len(parts) == 1 else fused
        for end in (".weight", ".bias"):
            rows.append(Row(tuple(part + end for part in parts), theirs + its + end, conversion))
    return rows


def expand(rows: Sequence[Row], model: nn.Module) -> Iterator[Row]:
    """Yield rows of single tensors, for the layers and experts that the model has."""
    have = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    layers, experts = _count(r"blocks\.(\d+)\.", have), _count(r"experts\.(\d+)\.", have)
    for row in rows:
        for i in range(layers) if "{i}" in row.theirs else (0,):
            for e in range(experts) if "{e}" in row.theirs else (0,):
                ours = tuple(name.replace("{i}", str(i)).replace("{e}", str(e)) for name in row.ours)
                if have.issuperset(ours):
                    theirs = row.theirs.replace("{i}", str(i)).replace("{e}", str(e))
                    yield Row(ours, theirs, row.conversion, row.optional)


def _count(pattern: str, names: Iterable[str]) -> int:
    """Return one more than the highest number that a pattern finds."""
    return 1 + max((int(found[1]) for found in map(re.compile(pattern).search, names) if found), default=-1)


def fill(
    model: AnyModel,
    checkpoint: Checkpoint,
    rows: Sequence[Row],
    *,
    dtype: torch.dtype | None = None,  # target precision; None keeps the file's
    spellings: Callable[[str], Sequence[str]] = lambda name: (name,),  # names a published tensor may have, best first
    ignored: str = r"(?!)",  # a pattern of tensors that carry nothing (buffers, copies of shared tables)
) -> tuple[str, ...]:
    """Fill a model on the meta device with its weights, one tensor at a time; return published ones that are left over.

    So loading needs the model in its target precision and one tensor. Every parameter is filled exactly once; raises
    CorruptError where a tensor is missing or has another shape than the configuration says.
    """
    names, shared = set(checkpoint.names()), model.shared()
    wanted = dict(model.named_parameters(remove_duplicate=False))
    todo, used = set(wanted) - set(shared), set[str]()
    table = sorted(expand(rows, model), key=lambda row: not shared.keys().isdisjoint(row.ours))  # copies come last
    with progress("loading", len(table), "tensors") as bar:
        for row in table:
            bar.advance()
            name = next((name for name in spellings(row.theirs) if name in names), None)
            if name is None:
                continue
            used.add(name)
            if todo.isdisjoint(shared.get(ours, ours) for ours in row.ours):
                continue  # a copy of what is there
            for ours, part in _parts(row, name, checkpoint, wanted):
                todo.discard(shared.get(ours, ours))
                _put(model, shared.get(ours, ours), part, dtype)
    for ours in {ours for row in table if row.optional for ours in row.ours} & todo:
        todo.discard(ours)
        kind = next(filled.dtype for filled in model.parameters() if not filled.is_meta)
        _put(model, ours, torch.zeros(wanted[ours].shape, dtype=kind), dtype)
    if todo:
        raise _missing(checkpoint, table, todo)
    model.tie()
    pattern = re.compile(ignored)
    return tuple(name for name in checkpoint.names() if name not in used and not pattern.search(name))


def dump(model: AnyModel, rows: Sequence[Row]) -> Iterator[tuple[str, Tensor]]:
    """Yield a model's parameters as published tensors, one at a time: the inverse of :func:`fill`."""
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters(remove_duplicate=False)}
    left = set(parameters) - set(model.shared())
    for row in expand(rows, model):
        if left.issuperset(row.ours):
            left -= set(row.ours)
            yield row.theirs, row.conversion.join([parameters[name] for name in row.ours]).contiguous()
    if left:
        raise ValueError(f"no row for {', '.join(sorted(left)[:4])}")


def _parts(
    row: Row, name: str, checkpoint: Checkpoint, wanted: Mapping[str, nn.Parameter]
) -> Iterator[tuple[str, Tensor]]:
    shapes = [wanted[ours].shape for ours in row.ours]
    try:
        parts = row.conversion.split(checkpoint.read(name), shapes)
    except (RuntimeError, ValueError, IndexError) as error:
        raise _wrong_shape(checkpoint, name, shapes) from error
    if [part.shape for part in parts] != shapes:
        raise _wrong_shape(checkpoint, name, shapes)
    yield from zip(row.ours, parts, strict=True)


def _put(model: nn.Module, name: str, tensor: Tensor, dtype: torch.dtype | None) -> None:
    path, _, last = name.rpartition(".")
    parameter = nn.Parameter(tensor.to(dtype or tensor.dtype).contiguous())
    setattr(model.get_submodule(path), last, parameter)


def _missing(checkpoint: Checkpoint, table: Sequence[Row], todo: set[str]) -> CorruptError:
    theirs = [row.theirs for row in table if todo.intersection(row.ours)] or sorted(todo)
    more = f" and {len(theirs) - 3} more" if len(theirs) > 3 else ""
    return CorruptError(
        f"{checkpoint.origin} lacks weights of this model",
        why=f"there is no {', '.join(theirs[:3])}{more}",
        fix="get the whole model again, or correct its config.json",
    )


def _wrong_shape(checkpoint: Checkpoint, name: str, shapes: Shapes) -> CorruptError:
    wanted = " and ".join(str(tuple(shape)) for shape in shapes)
    return CorruptError(
        f"{checkpoint.origin}: {name} does not fit the configuration",
        why=f"its shape is {checkpoint.shape(name)}; the configuration asks for {wanted}",
        fix="get the model again with the config.json that belongs to it",
    )
