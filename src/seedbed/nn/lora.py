"""Low-rank additions to linear layers (LoRA, Hu et al. 2021, section 4.1): ``W x + scale · up (down x)``.

Here: what an adapter is and how it is read from a PEFT folder. Serving adds it per request inside the kernel.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seedbed.core.errors import CorruptError, NotFoundError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX, _DOWN, _UP = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


@dataclass(frozen=True)
class LowRank:
    """What is added to one linear layer of n outputs and k inputs: down (rank, k), up (n, rank)."""

    down: Tensor
    up: Tensor
    scale: float


def read_adapter(folder: Path) -> dict[str, LowRank]:
    """An adapter's parts by the path of the layer they belong to, from a folder in PEFT's format.

    Raises:
        NotFoundError: the folder holds no adapter.
        CorruptError: its files cannot be read or do not fit together.
    """
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise NotFoundError(f"{folder} holds no adapter", why=f"{CONFIG} or {WEIGHTS} is missing", fix="check the path")
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors = {name.removeprefix(_PREFIX): tensor.float() for name, tensor in load_file(folder / WEIGHTS).items()}
        scale = float(settings["lora_alpha"]) / int(settings["r"])
        return {
            name.removesuffix(_DOWN): LowRank(down.contiguous(), _partner(tensors, name, down), scale)
            for name, down in tensors.items()
            if name.endswith(_DOWN)
        }
    except (OSError, ValueError, KeyError, ZeroDivisionError, SafetensorError) as error:
        raise CorruptError(f"{folder} is not a readable adapter", why=repr(error), fix="export it again") from error


def _partner(tensors: Mapping[str, Tensor], name: str, down: Tensor) -> Tensor:
    up = tensors[name.removesuffix(_DOWN) + _UP]
    if up.ndim != 2 or down.ndim != 2 or up.shape[1] != down.shape[0]:
        raise ValueError(f"{name}: {tuple(down.shape)} and {tuple(up.shape)} do not fit")
    return up.contiguous()
