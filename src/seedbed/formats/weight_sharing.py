"""Weight sharing: tensors that a model stores once and uses twice, or stores twice, with their bytes.

Tied tensors are one by the configuration (the input embedding as output layer, Press & Wolf 2017). Equal ones only
happen to hold the same bytes, as after layers were copied; they are found by their hashes. Vectors are left out: norms
and biases that nobody trained are all alike, and small.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seedbed.core.artifacts import Artifact
from seedbed.formats.safetensors.shards import open_safetensors
from seedbed.models.factory import skeleton
from seedbed.models.store import WEIGHTS, read_config, read_description

_SAMPLE = 1024  # elements that are compared before a tensor is hashed whole, so that a large file need not be read


@dataclass(frozen=True)
class Sharing:
    """Tensors of a model that are used or stored more than once."""

    tied: Mapping[str, str]  # name → the stored tensor that it is
    equal: tuple[tuple[str, ...], ...]  # groups of stored matrices with the same shape, type and bytes
    bytes: int  # of all stored tensors
    saved: int  # bytes that tied tensors would take besides
    spare: int  # bytes that equal ones need not take


def stored_sharing(artifact: Artifact) -> Sharing:
    """Find the shared tensors of a stored model; only weights that could be equal are read."""
    config = read_config(read_description(artifact)["model"])
    checkpoint = open_safetensors(artifact.file(WEIGHTS))
    return sharing({name: checkpoint.read(name) for name in checkpoint.names()}, skeleton(config).shared())


def sharing(tensors: Mapping[str, Tensor], tied: Mapping[str, str]) -> Sharing:
    """Find shared tensors among stored ones by name; ``tied`` maps further names to them."""
    equal = tuple(tuple(group) for group in _equal([name for name, t in tensors.items() if t.ndim > 1], tensors))
    saved = sum(_size(tensors[part]) for owner in tied.values() for part in _parts(owner, tensors))
    spare = sum((len(group) - 1) * _size(tensors[group[0]]) for group in equal)
    return Sharing(dict(tied), equal, sum(map(_size, tensors.values())), saved, spare)


def _equal(names: Iterable[str], tensors: Mapping[str, Tensor]) -> list[list[str]]:
    """Return groups of two and more equal tensors: first by shape, type and a sample, then by everything."""
    alike = _grouped(names, lambda name: (tensors[name].dtype, tensors[name].shape, _digest(tensors[name], _SAMPLE)))
    return [group for some in alike for group in _grouped(some, lambda name: _digest(tensors[name]))]


def _grouped(names: Iterable[str], key: Callable[[str], object]) -> list[list[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _digest(tensor: Tensor, elements: int | None = None) -> str:
    flat: Any = tensor.flatten()[:elements].contiguous().cpu().view(torch.uint8).numpy()
    return hashlib.sha256(flat).hexdigest()


def _parts(owner: str, tensors: Mapping[str, Tensor]) -> Sequence[str]:
    """Return the name of the tensor, or of those a quantized layer stores in its place."""
    layer = owner.removesuffix("weight")
    return [owner] if owner in tensors else [name for name in (f"{layer}data", f"{layer}scale") if name in tensors]


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
