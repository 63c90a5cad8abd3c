"""Open a model as others publish it: a Hugging Face folder or a GGUF file."""

from __future__ import annotations

from pathlib import Path

from seedbed.core.errors import NotFoundError, UsageError
from seedbed.formats.gguf.model import read_gguf_model
from seedbed.formats.huggingface.folder import CONFIG, read_folder
from seedbed.formats.published import Published
from seedbed.formats.safetensors.shards import open_safetensors


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
    if path.suffix == ".gguf" or _begins_as_gguf(path):  # ollama's blobs have no suffix
        return read_gguf_model(path)
    open_safetensors(path)  # a pickle or a damaged file says so itself
    raise UsageError(
        f"{path} is weights alone", why="a model needs its config.json and tokenizer", fix="name the folder they are in"
    )


def _begins_as_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"GGUF"
