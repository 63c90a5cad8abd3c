"""A model as others publish it: a Hugging Face folder or a GGUF file, read into our configuration, names and tokenizer.

Opening one reads headers and configurations only; :func:`load_published` reads the weights.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from seedbed.core.errors import CorruptError, NotFoundError, UsageError
from seedbed.models.building import AnyModel, skeleton
from seedbed.models.config import AnyConfig
from seedbed.models.families.base import Family
from seedbed.models.families.names import Loaded, Row, fill
from seedbed.models.families.registry import read_published
from seedbed.models.families.settling import settle
from seedbed.models.io.checkpoint import Checkpoint
from seedbed.models.io.pooling import read_pooling
from seedbed.models.io.safetensors import open_safetensors
from seedbed.tokenizers.importing import open_tokenizer
from seedbed.tokenizers.tokenizer import Tokenizer

CONFIG, GENERATION, CARD = "config.json", "generation_config.json", "README.md"
_LIMIT = 20_000_000
"""Bytes of a configuration; larger ones are refused unread."""


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


def open_published(path: Path) -> Published:
    """Open a folder or a ``.gguf`` file.

    Raises:
        NotFoundError: there is no such path, or nothing in it that is a model.
        UsageError: an unknown family, a pickle file, something our blocks cannot do.
        CorruptError: a file is damaged.
    """
    if path.is_dir() or path.name == CONFIG:
        return _open_folder(path if path.is_dir() else path.parent)
    if not path.exists():
        raise NotFoundError(f"there is no {path}", why="no such file or folder", fix="check the path")
    if path.suffix == ".gguf":
        from seedbed.models.families.gguf import read_gguf_model

        return read_gguf_model(path)
    open_safetensors(path)  # a pickle or a damaged file says so itself
    raise UsageError(
        f"{path} is weights alone", why="a model needs its config.json and tokenizer", fix="name the folder they are in"
    )


def load_published(published: Published, dtype: torch.dtype | None = None) -> tuple[AnyModel, Loaded]:
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


def _open_folder(folder: Path) -> Published:
    config = read_json(folder / CONFIG)
    family, shape = read_published(config)
    checkpoint = open_safetensors(folder)
    shape = settle(family, shape, checkpoint.names(), lambda a, b: torch.equal(checkpoint.read(a), checkpoint.read(b)))
    shape, pooling = read_pooling(folder, shape)
    card = _text(folder / CARD)
    return Published(
        str(folder),
        family,
        config,
        shape,
        checkpoint,
        family.table(shape),
        _tokenizer(folder),
        read_json(folder / GENERATION) if (folder / GENERATION).is_file() else {},
        card,
        licence_of(card),
        pooling=pooling,
    )


def read_json(path: Path) -> dict[str, Any]:
    """A configuration from elsewhere.

    Raises:
        NotFoundError: there is none.
        CorruptError: it is no JSON object, or too large to be one.
    """
    if not path.is_file():
        raise NotFoundError(
            f"{path.parent} holds no model", why=f"there is no {path.name}", fix="name the folder with its files"
        )
    try:
        if path.stat().st_size > _LIMIT:
            raise ValueError(f"it has {path.stat().st_size} bytes, at most {_LIMIT} are read")
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise ValueError(f"it holds a {type(value).__name__}, not an object")
        return value
    except (OSError, ValueError, RecursionError) as error:
        raise CorruptError(f"{path} cannot be read", why=str(error), fix="get the model again") from error


def licence_of(card: str) -> str:
    """The licence that a card's front matter states, or ""."""
    front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    found = re.search(r"^license:\s*[\"']?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return found[1] if found else ""


def _tokenizer(folder: Path) -> Tokenizer | None:
    try:
        return open_tokenizer(folder)
    except NotFoundError:
        return None


def _text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > _LIMIT:
        return ""
    return path.read_text(encoding="utf-8", errors="replace")
