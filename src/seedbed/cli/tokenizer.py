"""`seedbed tokenizer`: train, show, try and compare tokenizers."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from seedbed.cli.common import common_flags, print_json, print_table
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import DataError, NotFoundError, UsageError
from seedbed.core.progress import say, track
from seedbed.tokenizers.settings import Kind, TokenizerSettings

if TYPE_CHECKING:
    from seedbed.corpus.document import Split
    from seedbed.tokenizers.measure import Fit
    from seedbed.tokenizers.tokenizer import Tokenizer

_BLOCK = 2**20  # characters read at once from a text file
_SHOWN = 12
_SAMPLE_BYTES = 2**23  # of each split, for `show` and `compare`
_SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_DEFAULTS = TokenizerSettings()
_FIXED_SIZE = ("char", "byte")


@click.group("tokenizer")
def tokenizer_command() -> None:
    """Train, show, try and compare tokenizers.

    \b
    Example:
      seedbed tokenizer train notes --vocab-size 1024 --name notes-1k
    """


@tokenizer_command.command("train")
@click.argument("corpus")
@click.option("--kind", type=click.Choice(get_args(Kind)), default=_DEFAULTS.kind, show_default=True)
@click.option("--vocab-size", type=click.IntRange(8), help=f"Pieces in all. [default: {_DEFAULTS.vocab_size}]")
@click.option("--min-frequency", type=click.IntRange(1), default=_DEFAULTS.min_frequency, show_default=True)
@click.option(
    "--max-bytes", type=click.IntRange(0), default=_DEFAULTS.max_bytes, show_default=True, help="0 reads all the text."
)
@click.option("--name", help="A name for it.")
@common_flags
def train(
    corpus: str, kind: Kind, vocab_size: int | None, min_frequency: int, max_bytes: int, name: str | None, as_json: bool
) -> None:
    """Train a tokenizer.

    CORPUS is a stored corpus, a text file, or a folder whose .txt files are read.

    \b
    Example:
      seedbed tokenizer train notes --kind bpe --vocab-size 1024 --name notes-1k
    """
    from seedbed.core.artifacts import check_name
    from seedbed.core.config import to_dict
    from seedbed.tokenizers.train import train_tokenizer

    if vocab_size is not None and kind in _FIXED_SIZE:
        raise UsageError(
            f"--vocab-size does not apply to {kind}",
            why="such a tokenizer has as many pieces as there are characters or bytes",
            fix="leave it out",
        )
    if name is not None:
        check_name(name)
    library = Library()
    parent, texts = _training_text(library, corpus)
    settings = TokenizerSettings(
        kind, vocab_size or _DEFAULTS.vocab_size, min_frequency=min_frequency, max_bytes=max_bytes
    )
    made = train_tokenizer(texts, settings)
    parents = [] if parent is None else [parent]
    stored = made.store(library, parents, {**to_dict(settings), "corpus": corpus}, name)
    if as_json:
        print_json({"id": stored.id, "name": name, "kind": kind, "vocab_size": made.vocab_size, "hash": made.hash})
    else:
        print(f"tokenizer {name or stored.id[:12]}: {kind}, {made.vocab_size:,} pieces, hash {made.hash[:12]}")
        say(f"look at it with `seedbed tokenizer show {name or stored.id[:12]}`")


@tokenizer_command.command("show")
@click.argument("name")
@common_flags
def show(name: str, as_json: bool) -> None:
    """Show kind, size, hash, pieces and fit.

    NAME is a stored tokenizer or the path of a tokenizer.json. The fit is measured on at most 8 MB of every split of
    the corpus it was trained on.

    \b
    Example:
      seedbed tokenizer show notes-1k
    """
    library = Library()
    tokenizer, artifact = _open(library, name)
    fits = dict(_fits(library, tokenizer, artifact))
    page = _page(tokenizer, artifact, fits)
    if as_json:
        print_json(page)
        return
    for key in ("kind", "vocab_size", "hash"):
        print(f"{key.replace('_', ' '):14}{page[key]}")
    print(f"{'lossless':14}{_yes_or_no(page['lossless'])}")
    print(f"{'special':14}" + ", ".join(f"{token} {index}" for token, index in page["special"].items()))
    for key in ("longest", "most_frequent"):
        if page[key]:
            print(f"{key.replace('_', ' '):14}" + " ".join(_quoted(piece) for piece in page[key]))
    if fits:
        print()
        rows = [[split, *_fit_cells(fit), f"{fit.used:,}"] for split, fit in fits.items()]
        print_table(["split", *_FIT_HEADERS, "pieces used"], rows, right=(1, 2, 3, 4))


@tokenizer_command.command("encode")
@click.argument("name")
@click.argument("text")
@common_flags
def encode(name: str, text: str, as_json: bool) -> None:
    """Cut a text into tokens.

    Shows ids and pieces. TEXT `-` reads standard input; special tokens spelled in the text are plain text.

    \b
    Example:
      seedbed tokenizer encode notes-1k "def parse(text): return 42"
    """
    tokenizer, _ = _open(Library(), name)
    text = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text
    ids = tokenizer.encode(text)
    pieces = tokenizer.pieces(ids)
    size = len(text.encode())
    if as_json:
        print_json({"ids": ids, "pieces": pieces, "bytes": size, "tokens": len(ids)})
    elif sys.stdout.isatty():
        _print_coloured(ids, pieces)
    else:
        for index, piece in zip(ids, pieces, strict=True):
            print(f"{index}\t{_quoted(piece)}")
    if ids:
        say(f"{len(ids):,} tokens, {size:,} bytes, {size / len(ids):.2f} bytes per token")


@tokenizer_command.command("compare")
@click.argument("names", nargs=-1, required=True)
@click.option("--text", "path", type=click.Path(path_type=Path), help="Text to compare on: a file or folder of .txt.")
@common_flags
def compare(names: tuple[str, ...], path: Path | None, as_json: bool) -> None:
    """Compare tokenizers on one text.

    Shows bytes per token, tokens per word and the share of unknowns. NAMES are stored tokenizers or paths of
    tokenizer.json files. Without --text they are compared on the test split of the first tokenizer's corpus, which
    none of them was trained on.

    \b
    Example:
      seedbed tokenizer compare notes-1k notes-words --text README.md
    """
    from seedbed.tokenizers.measure import Fit

    library = Library()
    opened = {name: _open(library, name) for name in names}
    rows = []
    for name, (tokenizer, artifact) in track(opened.items(), "comparing", len(opened), "tokenizers"):
        fit = Fit(tokenizer, _comparison_text(library, opened[names[0]][1], path))
        if not fit.bytes:
            raise DataError("there is no text to compare on", why="it is empty", fix="name another text with --text")
        rows.append((name, _kind(tokenizer, artifact), tokenizer, fit))
    if as_json:
        print_json(
            [
                {"name": name, "kind": kind, "vocab_size": tokenizer.vocab_size, **_fit_json(fit)}
                for name, kind, tokenizer, fit in rows
            ]
        )
    else:
        cells = [
            [name, kind, f"{tokenizer.vocab_size:,}", *_fit_cells(fit), _yes_or_no(tokenizer.is_lossless)]
            for name, kind, tokenizer, fit in rows
        ]
        print_table(["tokenizer", "kind", "pieces", *_FIT_HEADERS, "lossless"], cells, right=(2, 3, 4, 5))


def _training_text(library: Library, corpus: str) -> tuple[Artifact | None, Iterator[str]]:
    try:
        parent = library.get(corpus, "corpus")
    except NotFoundError:
        if not Path(corpus).exists():
            raise
        return None, _read_text(Path(corpus))
    return parent, _split_text(parent, "train")


def _split_text(corpus: Artifact, split: Split) -> Iterator[str]:
    from seedbed.corpus.store import Corpus

    return (document.text for document in Corpus.open(corpus).documents(split))


def _read_text(path: Path) -> Iterator[str]:
    """The text of a file, or of all .txt files of a folder, a block at a time."""
    if not path.exists():
        raise NotFoundError(f"there is no text {path}", why="no such file or folder", fix="check the path")
    files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
    if not files:
        raise DataError(
            f"{path} holds no .txt file",
            why="a folder is read for its .txt files only",
            fix="build a corpus from it (`seedbed corpus build`), which reads many formats",
        )
    for file in files:
        try:
            with file.open(encoding="utf-8") as stream:
                while block := stream.read(_BLOCK):
                    yield block
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{file} cannot be read as text", why=str(error), fix="give a UTF-8 text file") from error


def _comparison_text(library: Library, first: Artifact | None, path: Path | None) -> Iterator[str]:
    if path is not None:
        return _read_text(path)
    corpus = _corpus_of(library, first)
    if corpus is None:
        raise UsageError(
            "there is no text to compare on",
            why="the first tokenizer was not trained on a corpus of the library",
            fix="name one with --text FILE",
        )
    return _split_text(corpus, "test")


def _open(library: Library, name: str) -> tuple[Tokenizer, Artifact | None]:
    """A stored tokenizer, or one in a file."""
    from seedbed.tokenizers.tokenizer import Tokenizer

    try:
        artifact = library.get(name, "tokenizer")
    except NotFoundError:
        if not Path(name).exists():
            raise
        return Tokenizer.from_file(Path(name)), None
    return Tokenizer.open(artifact), artifact


def _corpus_of(library: Library, artifact: Artifact | None) -> Artifact | None:
    parents = [] if artifact is None else library.parents(artifact)
    return next((parent for parent in parents if parent.kind == "corpus"), None)


def _fits(library: Library, tokenizer: Tokenizer, artifact: Artifact | None) -> Iterator[tuple[str, Fit]]:
    from seedbed.tokenizers.measure import Fit
    from seedbed.tokenizers.sample import chunks, spread_sample

    corpus = _corpus_of(library, artifact)
    if corpus is not None:
        for split in track(_SPLITS, "measuring", len(_SPLITS), "splits"):
            yield split, Fit(tokenizer, spread_sample(chunks(_split_text(corpus, split)), _SAMPLE_BYTES))


def _kind(tokenizer: Tokenizer, artifact: Artifact | None) -> str:
    return tokenizer.model_kind if artifact is None else str(artifact.manifest.config.get("kind", tokenizer.model_kind))


def _page(tokenizer: Tokenizer, artifact: Artifact | None, fits: dict[str, Fit]) -> dict[str, Any]:
    words = [index for index in range(tokenizer.vocab_size) if re.search(rb"\w", tokenizer.token_bytes(index))]
    longest = sorted(words, key=lambda index: (-len(tokenizer.token_bytes(index)), index))[:_SHOWN]
    frequent = [index for index, _ in fits["train"].counts.most_common(_SHOWN)] if fits else []
    special = sorted(tokenizer.special_ids)
    return {
        "kind": _kind(tokenizer, artifact),
        "vocab_size": tokenizer.vocab_size,
        "lossless": tokenizer.is_lossless,
        "hash": tokenizer.hash,
        "special": dict(zip(tokenizer.pieces(special), special, strict=True)),
        "longest": tokenizer.pieces(longest),
        "most_frequent": tokenizer.pieces(frequent),
        "fit": {split: _fit_json(fit) for split, fit in fits.items()},
    }


_FIT_HEADERS = ["bytes per token", "tokens per word", "unknown"]


def _fit_cells(fit: Fit) -> list[str]:
    return [f"{fit.bytes_per_token:.3f}", f"{fit.tokens_per_word:.3f}", f"{fit.unknown_share:.2%}"]


def _fit_json(fit: Fit) -> dict[str, float]:
    return {
        "bytes": fit.bytes,
        "tokens": fit.tokens,
        "bytes_per_token": fit.bytes_per_token,
        "tokens_per_word": fit.tokens_per_word,
        "unknown_share": fit.unknown_share,
        "pieces_used": fit.used,
    }


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"


def _quoted(piece: str) -> str:
    return json.dumps(piece, ensure_ascii=False)


def _print_coloured(ids: list[int], pieces: list[str]) -> None:
    """Ids, then the text with a background for every piece; neighbours differ."""
    from rich.console import Console
    from rich.text import Text

    text = Text()
    styles = ("black on bright_cyan", "black on bright_yellow", "black on bright_green", "black on bright_magenta")
    for position, piece in enumerate(pieces):
        text.append(piece.replace("\n", "⏎\n"), style=styles[position % len(styles)])
    console = Console(highlight=False)
    console.print(" ".join(map(str, ids)), style="dim")
    console.print(text)
