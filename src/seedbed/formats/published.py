"""A published model, opened by its headers; :func:`load_published` reads its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from seedbed.models.checkpoint import Checkpoint
from seedbed.models.config import AnyConfig
from seedbed.models.factory import AnyModel, skeleton
from seedbed.models.families.base import Family
from seedbed.models.families.weight_mapping import Row, fill
from seedbed.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Published:
    """The headers and configuration of a published folder or file.

    Attributes:
        family: its family. config: its config.json. shape: our configuration.
        rows: names of its tensors. tokenizer: None where it has none.
        generation: its generation_config.json. card: its README. licence: as the card states it.
        precision: None keeps the file's. pooling: an encoder's settings; see ``huggingface/pooling.py``.
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


def load_published(published: Published, dtype: torch.dtype | None = None) -> tuple[AnyModel, tuple[str, ...]]:
    """Load the model in evaluation mode, and return the tensors of its file that were not used.

    ``dtype``: target precision; None keeps the file's. Memory: the model in it, and one tensor.
    """
    model, family, dtype = skeleton(published.shape), published.family, dtype or published.precision
    spellings, ignored = family.spellings, family.ignored
    left = fill(model, published.checkpoint, published.rows, dtype=dtype, spellings=spellings, ignored=ignored)
    return model.eval(), left
