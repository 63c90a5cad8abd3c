"""A data set brought from the hub into the library: as a corpus, or as pairs of prompts and replies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from seedbed.app.pull import announce
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import UsageError
from seedbed.core.progress import say
from seedbed.corpus.build import build_corpus
from seedbed.corpus.columns import Columns
from seedbed.corpus.pairs import build_read, choose_columns
from seedbed.corpus.settings import CorpusSettings, SourceSettings
from seedbed.corpus.tables import TableRows, require_parquet
from seedbed.corpus.texts import write_texts
from seedbed.hub.datasets import choose_data, form_of
from seedbed.hub.hub import Hub
from seedbed.hub.pulling import Pulled, discard, pull, pulled_before, staging
from seedbed.hub.repository import Address

_TEXT_FILES = (".txt", ".md")


@dataclass(frozen=True)
class DataSetOptions:
    """A part of a data set, and the columns to read; None and "" are found out.

    Attributes:
        config: the data set's configuration.
        form: "corpus" or "pairs".
    """

    config: str | None = None
    split: str | None = None
    form: str | None = None
    columns: Columns = field(default_factory=Columns)


def pull_data(
    library: Library, hub: Hub, address: Address, revision: str | None, name: str, wanted: DataSetOptions
) -> Artifact:
    """Return the data set of a repository as a corpus or as questions with replies.

    Raises:
        UsageError: it has no such part, or no column holds what is wanted.
        HubError: the hub does not answer, or a file arrived damaged.
    """
    if hub.offline:
        pulled = pulled_before(library.root, address, revision)
        artifact = _store(library, address, pulled, name, wanted)
        discard(pulled)
        return artifact
    listing = hub.listing(address, revision)
    choice = choose_data(listing, wanted.config, wanted.split)
    if choice.form == ".parquet":
        require_parquet()
    announce(listing, [(file.path, file.bytes) for file in choice.files])
    if choice.split:
        say(f"split {choice.split}{f' of {choice.config}' if choice.config else ''}")
    texts = [file for file in listing.files if file.path in ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")]
    with staging(library.root, listing) as folder:
        # As much again while rows become records, and for the corpus.
        size = sum(file.bytes for file in choice.files)
        pulled = pull(hub, listing, [*choice.files, *texts], folder, room_after=2 * size)
        pulled.source.update({"config": choice.config, "split": choice.split})
        artifact = _store(library, address, pulled, name, wanted)
        discard(pulled)
    return artifact


def _store(library: Library, address: Address, pulled: Pulled, name: str, wanted: DataSetOptions) -> Artifact:
    paths = [pulled.folder / path for path in pulled.source["files"] if form_of(path)]
    if all(form_of(path.name) in _TEXT_FILES for path in paths):
        if wanted.form == "pairs":
            raise UsageError(f"{address} has no pairs", why="it is plain text", fix="leave out --as")
        return _corpus(library, address, pulled, name, paths)
    rows = TableRows(paths, pulled.folder)
    columns, names = choose_columns(rows, wanted.columns)
    return _from_rows(library, address, pulled, name, rows, columns, wanted.form, names)


def _from_rows(
    library: Library,
    address: Address,
    pulled: Pulled,
    name: str,
    rows: TableRows,
    columns: Columns,
    form: str | None,
    names: list[str],
) -> Artifact:
    if form is None:
        form = "pairs" if columns.has_pairs and not columns.text else "corpus"
    if form == "pairs" and columns.has_pairs:
        return build_read(rows, columns, names, library, name, pulled.source, pulled.licence or "unknown")
    if form == "corpus" and columns.text:
        say(f"text from column {columns.text}")
        path = pulled.staging / "texts" / f"{address.short}.jsonl"
        write_texts(rows, columns.text, path)
        rows.say_bad()
        return _corpus(library, address, pulled, name, [path])
    needed = "--text-column" if form == "corpus" else "--prompt-column and --reply-column, or --messages-column"
    raise UsageError(
        f"{address}: no column holds what --as {form} needs",
        why=f"the columns are {', '.join(names)}",
        fix=f"name it with {needed}, or choose --as {'pairs' if form == 'corpus' else 'corpus'}",
    )


def _corpus(library: Library, address: Address, pulled: Pulled, name: str, paths: list[Path]) -> Artifact:
    """Build a corpus from files of text or records."""
    folder = pulled.staging / "texts"
    folder.mkdir(exist_ok=True)
    for number, path in enumerate(paths):
        if path.parent != folder:
            target = folder / (
                path.name if len({other.name for other in paths}) == len(paths) else f"{number}-{path.name}"
            )
            target.unlink(missing_ok=True)
            target.hardlink_to(path)
    source = SourceSettings(address.short, str(folder), pulled.licence or "unknown")
    return build_corpus(CorpusSettings(sources=(source,)), library, name, source=dict(pulled.source))
