"""Tokenizers at work: the text that one is trained or compared on, its fit to that text, and its facts."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import DataError, NotFoundError, UsageError
from seedbed.core.files import open_regular
from seedbed.core.progress import say, track
from seedbed.documents.file_walk import LEAVES, WalkRules, folder_files
from seedbed.documents.readers import Skipped

if TYPE_CHECKING:
    from seedbed.corpus.document import Split
    from seedbed.tokenizers.measure import Fit
    from seedbed.tokenizers.tokenizer import Tokenizer

_PARTS = {"vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model"}
"""Files that are a tokenizer only with the others in their folder."""
_BLOCK = 2**20  # characters read at once from a text file
_SHOWN = 12
_SAMPLE_BYTES = 2**23  # of each split
_SPLITS: tuple[Split, ...] = ("train", "valid", "test")


def training_text(library: Library, corpus: str) -> tuple[Artifact | None, Iterator[str]]:
    """Return the training split of a stored corpus, or the text of a file or folder (no artifact then)."""
    parent = _stored_unless_path(library, corpus, "corpus")
    return parent, _split_text(parent, "train") if parent else _read_text(Path(corpus))


def _split_text(corpus: Artifact, split: Split) -> Iterator[str]:
    from seedbed.corpus.store import Corpus

    return (document.text for document in Corpus.open(corpus).documents(split))


def _read_text(path: Path) -> Iterator[str]:
    """Yield the text of a file, or of all .txt files of a folder, a block at a time."""
    if not path.exists():
        raise NotFoundError(f"there is no text {path}", why="no such file or folder", fix="check the path")
    paths = _text_files(path) if path.is_dir() else [path]
    if not paths:
        fix = "build a corpus from it (`seedbed corpus build`), which reads many formats"
        raise DataError(f"{path} holds no .txt file", why="a folder is read for its .txt files only", fix=fix)
    for file in paths:
        try:
            with io.TextIOWrapper(open_regular(file), encoding="utf-8") as stream:
                while block := stream.read(_BLOCK):
                    yield block
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read as text", why=str(error), fix="give a UTF-8 text file") from error


def _text_files(folder: Path) -> list[Path]:
    """Return the .txt files of a folder; links that leave it are not followed, and said."""
    left: list[Skipped] = []
    rules = WalkRules(ignore=False)
    found = sorted(one.location for one in folder_files(folder, rules, left.append) if one.path.endswith(".txt"))
    if left:
        say(f"left out: {len(left):,} {LEAVES}; name what they lead to by itself")
    return found


def comparison_text(library: Library, first: Artifact | None, path: Path | None) -> Iterator[str]:
    """Return the text of a path, else the test split of the corpus that a tokenizer was trained on."""
    if path is not None:
        return _read_text(path)
    corpus = _corpus_of(library, first)
    if corpus is None:
        why = "the first tokenizer was not trained on a corpus of the library"
        raise UsageError("there is no text to compare on", why=why, fix="name one with --text FILE")
    return _split_text(corpus, "test")


def open_tokenizer(library: Library, name: str) -> tuple[Tokenizer, Artifact | None]:
    """Return a stored tokenizer with its artifact, or one of files: as :func:`_read_tokenizer`.

    Raises NotFoundError: there is neither.
    """
    from seedbed.tokenizers.tokenizer import Tokenizer

    artifact = _stored_unless_path(library, name, "tokenizer")
    return Tokenizer.open(artifact) if artifact else _read_tokenizer(Path(name)), artifact


def _read_tokenizer(path: Path) -> Tokenizer:
    """Read a ``tokenizer.json``, a folder of a tokenizer's files or one of them, or a GGUF file.

    Raises UsageError: the GGUF file has none. CorruptError, NotFoundError: a file is damaged or missing.
    """
    from gguf.constants import Keys

    from seedbed.formats.gguf.file import open_gguf
    from seedbed.formats.gguf.tokenizer import tokenizer_from_gguf
    from seedbed.formats.huggingface.tokenizer import open_tokenizer as open_published
    from seedbed.tokenizers.tokenizer import TOKENIZER_FILE
    from seedbed.tokenizers.trial import open_file

    if path.is_file() and _begins_with(path, b"GGUF"):
        metadata = open_gguf(path).metadata
        if Keys.Tokenizer.LIST not in metadata:
            fix = "name the file of the whole model, or a tokenizer.json"
            raise UsageError(f"{path} has no tokenizer", why=f"its metadata lack {Keys.Tokenizer.LIST}", fix=fix)
        return tokenizer_from_gguf(metadata)
    folder = path.parent if path.name in _PARTS else path
    if folder.is_dir() and not (folder / TOKENIZER_FILE).is_file():
        return open_published(folder)
    return open_file(path)


def _begins_with(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _stored_unless_path(library: Library, name: str, kind: str) -> Artifact | None:
    """Return an artifact, or None where the name is that of a path alone."""
    try:
        return library.get(name, kind)
    except NotFoundError:
        if not Path(name).exists():
            raise
        return None


def _corpus_of(library: Library, artifact: Artifact | None) -> Artifact | None:
    parents = [] if artifact is None else library.parents(artifact)
    return next((parent for parent in parents if parent.kind == "corpus"), None)


def fits_of(library: Library, tokenizer: Tokenizer, artifact: Artifact | None) -> Iterator[tuple[str, Fit]]:
    """Yield the fit to each split of the corpus it was trained on; nothing without one."""
    from seedbed.tokenizers.measure import Fit
    from seedbed.tokenizers.sample import chunks, spread_sample

    corpus = _corpus_of(library, artifact)
    if corpus is not None:
        for split in track(_SPLITS, "measuring", len(_SPLITS), "splits"):
            yield split, Fit(tokenizer, spread_sample(chunks(_split_text(corpus, split)), _SAMPLE_BYTES))


def kind_of(tokenizer: Tokenizer, artifact: Artifact | None) -> str:
    """Return its algorithm."""
    return tokenizer.model_kind if artifact is None else str(artifact.manifest.config.get("kind", tokenizer.model_kind))


def facts(tokenizer: Tokenizer, artifact: Artifact | None, fits: dict[str, Fit]) -> dict[str, Any]:
    """Return what is known of a tokenizer as JSON values."""
    words = [index for index in range(tokenizer.vocab_size) if re.search(rb"\w", tokenizer.token_bytes(index))]
    longest = sorted(words, key=lambda index: (-len(tokenizer.token_bytes(index)), index))[:_SHOWN]
    frequent = [index for index, _ in fits["train"].counts.most_common(_SHOWN)] if fits else []
    special = sorted(tokenizer.special_ids)
    return {
        "kind": kind_of(tokenizer, artifact),
        "vocab_size": tokenizer.vocab_size,
        "lossless": tokenizer.is_lossless,
        "hash": tokenizer.hash,
        "special": dict(zip(tokenizer.pieces(special), special, strict=True)),
        "longest": tokenizer.pieces(longest),
        "most_frequent": tokenizer.pieces(frequent),
        "fit": {split: fit_json(fit) for split, fit in fits.items()},
    }


def fit_json(fit: Fit) -> dict[str, float]:
    """Return a fit as JSON values."""
    names = ("bytes", "tokens", "bytes_per_token", "tokens_per_word", "unknown_share")
    return {name: getattr(fit, name) for name in names} | {"pieces_used": fit.used}
