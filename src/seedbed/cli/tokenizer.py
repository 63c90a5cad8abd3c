"""`seedbed tokenizer`: train, show, try and compare tokenizers."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.app.tokenizers import comparison_text, facts, fit_json, fits_of, kind_of, open_tokenizer, training_text
from seedbed.cli import options
from seedbed.cli.common import print_json, print_table, read_text
from seedbed.cli.library import add_verbs
from seedbed.core.artifacts import Library
from seedbed.core.errors import DataError, UsageError
from seedbed.core.progress import say, track
from seedbed.core.references import check_name
from seedbed.core.terminal import echo, visible
from seedbed.tokenizers.settings import Kind, TokenizerSettings

if TYPE_CHECKING:
    from seedbed.tokenizers.measure import Fit

_DEFAULTS = TokenizerSettings()
_FIXED_SIZE = ("char", "byte")
_YES = {True: "yes", False: "no"}


@options.group("tokenizer")
def tokenizer_command() -> None:
    """Train, list, show, remove, try and compare tokenizers.

    $ seedbed tokenizer train notes --vocab-size 1024 --name notes-1k
    """


@tokenizer_command.command("train")
@options.stored("corpus", "corpus")
@options.choice("--algorithm", of=Kind, text="How text is cut into pieces.", default=_DEFAULTS.kind, show_default=True)
@click.option("--vocab-size", type=click.IntRange(8), help=f"Tokens in all. [default: {_DEFAULTS.vocab_size}]")
@click.option("--min-frequency", type=click.IntRange(1), default=_DEFAULTS.min_frequency, show_default=True)
@click.option("--max-bytes", type=click.IntRange(0), default=_DEFAULTS.max_bytes, show_default=True, help="0: all.")
@options.name()
@options.common_flags
def train(
    corpus: str, algorithm: Kind, vocab_size: int | None, name: str | None, as_json: bool, **settings: Any
) -> None:
    """Train a tokenizer.

    CORPUS is a stored corpus, a text file, or a folder whose .txt files are read.

    $ seedbed tokenizer train notes --algorithm bpe --vocab-size 1024 --name notes-1k
    """
    from seedbed.core.config import to_dict
    from seedbed.tokenizers.train import train_tokenizer

    if vocab_size is not None and algorithm in _FIXED_SIZE:
        why = "such a tokenizer has as many tokens as there are characters or bytes"
        raise UsageError(f"--vocab-size does not apply to {algorithm}", why=why, fix="leave it out")
    if name is not None:
        check_name(name)
    library = Library()
    parent, texts = training_text(library, corpus)
    wanted = TokenizerSettings(algorithm, vocab_size or _DEFAULTS.vocab_size, **settings)
    made = train_tokenizer(texts, wanted)
    stored = made.store(library, [parent] if parent else [], {**to_dict(wanted), "corpus": corpus}, name)
    if as_json:
        print_json({"id": stored.id, "name": name, "kind": algorithm, "vocab_size": made.vocab_size, "hash": made.hash})
    else:
        echo(f"tokenizer {name or stored.id[:12]}: {algorithm}, {made.vocab_size:,} pieces, hash {made.hash[:12]}")
        say(f"look at it with `seedbed tokenizer show {name or stored.id[:12]}`")


@tokenizer_command.command("show")
@options.stored("name", "tokenizer")
@options.common_flags
def show(name: str, as_json: bool) -> None:
    """Show kind, size, hash, pieces and fit.

    NAME is a stored tokenizer or the path of a tokenizer.json. The fit is measured on at most 8 MB of every split of
    the corpus it was trained on.

    $ seedbed tokenizer show notes-1k
    """
    library = Library()
    tokenizer, artifact = open_tokenizer(library, name)
    fits = dict(fits_of(library, tokenizer, artifact))
    page = facts(tokenizer, artifact, fits)
    if as_json:
        print_json(page)
        return
    for key in ("kind", "vocab_size", "hash"):
        echo(f"{key.replace('_', ' '):14}{page[key]}")
    echo(f"{'lossless':14}{_YES[page['lossless']]}")
    echo(f"{'special':14}" + ", ".join(f"{token} {index}" for token, index in page["special"].items()))
    for key in ("longest", "most_frequent"):
        if page[key]:
            echo(f"{key.replace('_', ' '):14}" + " ".join(_quoted(piece) for piece in page[key]))
    if fits:
        echo()
        rows = [[split, *_fit_cells(fit), f"{fit.used:,}"] for split, fit in fits.items()]
        print_table(["split", *_FIT_HEADERS, "pieces used"], rows, right=(1, 2, 3, 4))


@tokenizer_command.command("encode")
@options.stored("name", "tokenizer")
@click.argument("text")
@options.common_flags
def encode(name: str, text: str, as_json: bool) -> None:
    """Cut a text into tokens.

    Shows ids and pieces. TEXT `-` reads standard input; special tokens spelled in the text are plain text.

    $ seedbed tokenizer encode notes-1k "def parse(text): return 42"
    """
    tokenizer, _ = open_tokenizer(Library(), name)
    text = read_text(text)
    ids = tokenizer.encode(text)
    pieces = tokenizer.pieces(ids)
    size = len(text.encode())
    if as_json:
        print_json({"ids": ids, "pieces": pieces, "bytes": size, "tokens": len(ids)})
    elif sys.stdout.isatty():
        _print_coloured(ids, pieces)
    else:
        for index, piece in zip(ids, pieces, strict=True):
            echo(f"{index}\t{_quoted(piece)}")
    if ids:
        say(f"{len(ids):,} tokens, {size:,} bytes, {size / len(ids):.2f} bytes per token")


@tokenizer_command.command("compare")
@options.stored("names", "tokenizer", nargs=-1, required=True)
@click.option("--text", "path", type=options.PATH, help="Text to compare on: a file or folder of .txt.")
@options.common_flags
def compare(names: tuple[str, ...], path: Path | None, as_json: bool) -> None:
    """Compare tokenizers on one text.

    Shows bytes per token, tokens per word and the share of unknowns. NAMES are stored tokenizers or paths of
    tokenizer.json files. Without --text they are compared on the test split of the first tokenizer's corpus, which
    none of them was trained on.

    $ seedbed tokenizer compare notes-1k notes-words --text README.md
    """
    from seedbed.tokenizers.measure import Fit

    library = Library()
    opened = {name: open_tokenizer(library, name) for name in names}
    rows = []
    for name, (tokenizer, artifact) in track(opened.items(), "comparing", len(opened), "tokenizers"):
        fit = Fit(tokenizer, comparison_text(library, opened[names[0]][1], path))
        if not fit.bytes:
            raise DataError("there is no text to compare on", why="it is empty", fix="name another text with --text")
        rows.append(({"name": name, "kind": kind_of(tokenizer, artifact)}, tokenizer, fit))
    if as_json:
        print_json([{**about, "vocab_size": one.vocab_size, **fit_json(fit)} for about, one, fit in rows])
        return
    cells = [
        [*about.values(), f"{one.vocab_size:,}", *_fit_cells(fit), _YES[one.is_lossless]] for about, one, fit in rows
    ]
    print_table(["tokenizer", "kind", "pieces", *_FIT_HEADERS, "lossless"], cells, right=(2, 3, 4, 5))


add_verbs(tokenizer_command, "tokenizer", {"vocab_size": lambda found: found.manifest.metrics.get("vocab_size", 0)})


_FIT_HEADERS = ["bytes per token", "tokens per word", "unknown"]


def _fit_cells(fit: Fit) -> list[str]:
    return [f"{fit.bytes_per_token:.3f}", f"{fit.tokens_per_word:.3f}", f"{fit.unknown_share:.2%}"]


def _quoted(piece: str) -> str:
    return json.dumps(piece, ensure_ascii=False)


def _print_coloured(ids: list[int], pieces: list[str]) -> None:
    """Print ids, then the text with a background for every token; neighbours differ."""
    from rich.console import Console
    from rich.text import Text

    text = Text()
    styles = ("black on bright_cyan", "black on bright_yellow", "black on bright_green", "black on bright_magenta")
    for position, piece in enumerate(pieces):
        text.append(visible(piece).replace("\n", "⏎\n"), style=styles[position % len(styles)])
    console = Console(highlight=False)
    console.print(" ".join(map(str, ids)), style="dim")
    console.print(text)
