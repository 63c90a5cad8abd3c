"""Published models into the library: our names and configuration, their precision, tokenizer and origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.formats.opening import open_published
from seedbed.formats.published import Published, load_published
from seedbed.models.decoder import Decoder
from seedbed.models.store import kind_of, save_model
from seedbed.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Shrink:
    """A quantization by name, and the function that does it (a floor above this one)."""

    name: str
    quantize: Callable[[Decoder, str], None]


def import_model(
    library: Library,
    path: Path,
    name: str,
    *,
    source: Mapping[str, Any] | None = None,
    licence: str = "",
    tokenizer: Path | None = None,
    dtype: torch.dtype | None = None,
    shrink: Shrink | None = None,
    package_licence: str = "",
) -> Artifact:
    """Store a published model under a name; every command then takes it as one of ours.

    Args:
        path: a Hugging Face folder or a .gguf file.
        source: where it came from, for the manifest. licence: stated there; else the card's, else ``package_licence``.
        tokenizer: a folder or file, for a model that comes without one.
        dtype: the precision to keep; None keeps the file's (float16 for quantized GGUF files).
        shrink: store it as integers instead.

    Raises:
        UsageError, CorruptError, NotFoundError: as :func:`open_published`; there is no tokenizer.
    """
    published = open_published(path)
    chosen = _tokenizer(published, tokenizer)
    if shrink and kind_of(published.shape) != "a decoder":
        raise UsageError(
            f"{published.origin} cannot be quantized",
            why=f"it is {kind_of(published.shape)}, and only decoders are quantized",
            fix="leave out --quantization",
        )
    model, left = load_published(published, dtype)
    if shrink:
        shrink.quantize(cast(Decoder, model), shrink.name)
    if left.unused:
        more = f" and {len(left.unused) - 8} more" if len(left.unused) > 8 else ""
        kind = kind_of(published.shape)
        say(f"not part of {kind}, and left out: {', '.join(left.unused[:8])}{more}")
    config = {"family": published.family.name, "source": dict(source or {"path": str(path)}), "unused": left.unused}
    config |= {"quantization": shrink.name} if shrink else {}
    with library.writing("model", config=config, name=name) as draft:
        draft.licence = licence or published.licence or package_licence
        kept = {"family": published.family.name, "config": published.config, "generation": published.generation}
        kept |= {"pooling": published.pooling} if published.pooling else {}
        save_model(draft.path, model, chosen, shrink.name if shrink else None, published=kept)
    return draft.result


def _tokenizer(published: Published, path: Path | None) -> Tokenizer:
    found = open_tokenizer(path) if path is not None else published.tokenizer
    if found is None:
        raise UsageError(
            f"{published.origin} comes without a tokenizer",
            why="there is no tokenizer.json, tokenizer.model, vocab.json with merges.txt, or vocab.txt",
            fix="add its files to the folder, or name another with --tokenizer",
        )
    return found
