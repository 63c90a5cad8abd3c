"""A model as others publish it, told by its headers; :func:`load_published` reads its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from seedbed.models.checkpoint import Checkpoint
from seedbed.models.config import AnyConfig
from seedbed.models.factory import AnyModel, skeleton
from seedbed.models.families.base import Family
from seedbed.models.families.weight_mapping import Row, UnusedTensors, fill
from seedbed.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Published:
    """What a folder or file offers.

    Attributes:
        family: whose rules it follows. config: its config.json. shape: ours.
        rows: names of its tensors. tokenizer: None where it has none.
        generation: its generation_config.json. card: its README. licence: as the card states it.
        precision: None keeps the file's. pooling: what else makes an encoder's vectors; see `pooling.py`.
    """

    origin: str
    family: Family[Any]
    config: Mapping[str, Any]
    shape: AnyConfig
    checkpoint: Checkpoint
    rows: Sequence[Row]
    tokenizer: Tokenizer | None = None
    generation: Mapping[str, Any] = field(default_factory=dict)
    card: str = ""
    licence: str = ""
    precision: torch.dtype | None = None
    pooling: Mapping[str, Any] = field(default_factory=dict)


def load_published(published: Published, dtype: torch.dtype | None = None) -> tuple[AnyModel, UnusedTensors]:
    """The model in evaluation mode, and which of its file's tensors were not used.

    Args:
        dtype: target precision; None keeps the file's. Memory: the model in it, and one tensor.
    """
    model = skeleton(published.shape)
    family = published.family
    left = fill(
        model,
        published.checkpoint,
        published.rows,
        dtype=dtype or published.precision,
        called=family.called,
        ignored=family.ignored,
    )
    return model.eval(), left
