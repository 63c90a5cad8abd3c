"""Published models into the library: our names and configuration, their precision, tokenizer and origin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import NotFoundError, UsageError
from seedbed.core.progress import say
from seedbed.formats.gguf.file import is_gguf
from seedbed.formats.gguf.model import read_gguf_model
from seedbed.formats.huggingface.folder import CONFIG, read_folder
from seedbed.formats.huggingface.tokenizer import open_tokenizer
from seedbed.formats.published import Published, load_published
from seedbed.formats.safetensors.shards import open_safetensors
from seedbed.models.decoder import Decoder
from seedbed.models.store import kind_of, require_decoder, save_model
from seedbed.tokenizers.tokenizer import Tokenizer


@dataclass(frozen=True)
class Shrink:
    """A quantization by name, and the function that does it (a floor above this one)."""

    name: str
    quantize: Callable[[Decoder, str], None]


def import_model(
    library: Library,
    path: Path,  # a Hugging Face folder or a .gguf file
    name: str,
    *,
    source: Mapping[str, Any] | None = None,  # where it came from, for the manifest
    licence: str = "",  # stated in the manifest; else the card's, else the package's
    tokenizer: Path | None = None,  # a folder or file, for a model that comes without one
    dtype: torch.dtype | None = None,  # the precision to keep; None: as the file's numbers need it
    shrink: Shrink | None = None,  # store it as integers instead
    package_licence: str = "",
) -> Artifact:
    """Store a published model under a name; every command then takes it as one of ours.

    Raises as :func:`open_published`, and UsageError where there is no tokenizer or a model cannot be quantized.
    """
    published = open_published(path)
    chosen = _tokenizer(published, tokenizer)
    if shrink:
        require_decoder(kind_of(published.shape), published.origin)
    model, unused = load_published(published, dtype)
    if shrink:
        shrink.quantize(cast(Decoder, model), shrink.name)
    if unused:
        more = f" and {len(unused) - 8} more" if len(unused) > 8 else ""
        say(f"not part of {kind_of(published.shape)}, and left out: {', '.join(unused[:8])}{more}")
    if kind_of(published.shape) == "a decoder" and not chosen.has_template:
        say("its files hold no chat template: chats use seedbed's own, which it was not trained with")
    config = {"family": published.family.name, "source": dict(source or {"path": str(path)}), "unused": unused}
    config |= {"quantization": shrink.name} if shrink else {}
    with library.writing("model", config=config, name=name) as draft:
        draft.licence = licence or published.licence or package_licence
        kept = {"family": published.family.name, "config": published.config, "generation": published.generation}
        kept |= {"pooling": published.pooling} if published.pooling else {}
        save_model(draft.path, model, chosen, shrink.name if shrink else None, published=kept)
    return draft.result


def open_published(path: Path) -> Published:
    """Open a folder or a ``.gguf`` file.

    Raises:
        NotFoundError: there is no such path, or nothing in it that is a model.
        UsageError: an unknown family, a pickle file, something our blocks cannot do.
        CorruptError: a file is damaged.
    """
    if path.is_dir() or path.name == CONFIG:
        return read_folder(path if path.is_dir() else path.parent)
    if not path.exists():
        raise NotFoundError(f"there is no {path}", why="no such file or folder", fix="check the path")
    if is_gguf(path):
        return read_gguf_model(path)
    open_safetensors(path)  # a pickle or a damaged file says so itself
    raise UsageError(
        f"{path} is weights alone", why="a model needs its config.json and tokenizer", fix="name the folder they are in"
    )


def _tokenizer(published: Published, path: Path | None) -> Tokenizer:
    found = open_tokenizer(path) if path is not None else published.tokenizer
    if found is None:
        raise UsageError(
            f"{published.origin} comes without a tokenizer",
            why="there is no tokenizer.json, tokenizer.model, vocab.json with merges.txt, or vocab.txt",
            fix="add its files to the folder, or name another with --tokenizer",
        )
    return found
