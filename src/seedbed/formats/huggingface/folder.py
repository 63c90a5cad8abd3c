"""A Hugging Face folder: config.json, weights, tokenizer and model card read into a :class:`Published` model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from seedbed.core.errors import CorruptError, NotFoundError
from seedbed.formats.huggingface.pooling import read_pooling
from seedbed.formats.published import Published
from seedbed.formats.published_tokenizer import open_tokenizer
from seedbed.formats.safetensors.shards import open_safetensors
from seedbed.models.families.registry import read_published
from seedbed.models.families.tied_embeddings import resolve_tied
from seedbed.tokenizers.tokenizer import Tokenizer

CONFIG, GENERATION, CARD = "config.json", "generation_config.json", "README.md"
_LIMIT = 20_000_000
"""Bytes of a configuration; larger ones are refused unread."""


def read_folder(folder: Path) -> Published:
    """Read a folder's headers and configurations.

    Raises:
        NotFoundError, CorruptError, UsageError: as :func:`seedbed.formats.opening.open_published`.
    """
    config = read_json(folder / CONFIG)
    family, shape = read_published(config)
    checkpoint = open_safetensors(folder)
    shape = resolve_tied(
        family, shape, checkpoint.names(), lambda a, b: torch.equal(checkpoint.read(a), checkpoint.read(b))
    )
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
    """Return the licence in a card's front matter, or ""."""
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
