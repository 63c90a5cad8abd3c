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
    """The headers and configuration of a published folder or file."""

    origin: str
    family: Family[Any]
    config: Mapping[str, Any]  # its config.json
    shape: AnyConfig  # our configuration
    checkpoint: Checkpoint
    rows: Sequence[Row]  # names of its tensors
    tokenizer: Tokenizer | None = None  # None where it has none
    generation: Mapping[str, Any] = field(default_factory=dict)  # its generation_config.json
    licence: str = ""  # as its README states it
    precision: torch.dtype | None = None  # None keeps the file's
    pooling: Mapping[str, Any] = field(default_factory=dict)  # an encoder's settings; see ``huggingface/pooling.py``


def load_published(published: Published, dtype: torch.dtype | None = None) -> tuple[AnyModel, tuple[str, ...]]:
    """Load the model in evaluation mode, and return the tensors of its file that were not used.

    ``dtype``: target precision; None keeps the file's. Memory: the model in it, and one tensor.
    """
    model, family, dtype = skeleton(published.shape), published.family, dtype or published.precision
    spellings, ignored = family.spellings, family.ignored
    left = fill(model, published.checkpoint, published.rows, dtype=dtype, spellings=spellings, ignored=ignored)
    return model.eval(), left
