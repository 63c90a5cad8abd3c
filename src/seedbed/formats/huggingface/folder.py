"""A Hugging Face folder: config.json, weights, tokenizer and model card read into a :class:`Published` model."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from seedbed.core import files
from seedbed.core.errors import CorruptError, NotFoundError
from seedbed.core.progress import say
from seedbed.formats.huggingface.pooling import read_pooling
from seedbed.formats.huggingface.quantization import KEYS, dequantized, scaling_of
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.formats.published import Published
from seedbed.formats.safetensors.shards import open_safetensors
from seedbed.models.families.registry import read_published
from seedbed.models.families.tied_embeddings import resolve_tied

CONFIG, GENERATION, CARD = "config.json", "generation_config.json", "README.md"
_CARD_LIMIT = 20_000_000  # bytes of a model card; larger ones are left unread


def read_folder(folder: Path) -> Published:
    """Read a folder's headers and configurations; raises as :func:`seedbed.formats.importing.open_published`."""
    config = read_json(folder / CONFIG)
    scaling_of(config, str(folder))  # first: it explains whatever else does not fit
    family, shape = read_published(config)
    checkpoint = dequantized(open_safetensors(folder), config)
    config = {key: value for key, value in config.items() if key not in KEYS}  # it holds of these files alone
    shape = resolve_tied(
        family, shape, checkpoint.names(), lambda a, b: torch.equal(checkpoint.read(a), checkpoint.read(b))
    )
    shape, pooling = read_pooling(folder, shape)
    path = folder / CARD
    short = path.is_file() and path.stat().st_size <= _CARD_LIMIT
    licence = licence_of(path.read_text(encoding="utf-8", errors="replace")) if short else ""
    rows, tokenizer = family.table(shape), None
    with suppress(NotFoundError):
        tokenizer = open_tokenizer(folder)
    stated = read_generation(folder)
    return Published(str(folder), family, config, shape, checkpoint, rows, tokenizer, stated, licence, pooling=pooling)


def read_generation(folder: Path) -> dict[str, Any]:
    """Read how the publishers would have a model write; nothing where they do not say, or, with a remark, say nonsense.

    A model works without it, so that a damaged file is no reason to refuse one.
    """
    if not (folder / GENERATION).is_file():
        return {}
    try:
        return read_json(folder / GENERATION)
    except CorruptError as error:
        say(f"{GENERATION} is left out: {error.why}")
        return {}


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration that came from outside.

    Raises:
        NotFoundError: there is none. CorruptError: it is no JSON object, or too large to be one.
    """
    if not path.is_file():
        raise NotFoundError(
            f"{path.parent} holds no model", why=f"there is no {path.name}", fix="name the folder with its files"
        )
    return files.read_json_object(path, fix="get the model again")


def licence_of(card: str) -> str:
    """Return the licence in a card's front matter, or ""."""
    front = re.match(r"---\n(.*?)\n---", card, re.DOTALL)
    found = re.search(r"^license:\s*[\"']?([\w.+-]+)", front[1], re.MULTILINE) if front else None
    return found[1] if found else ""
