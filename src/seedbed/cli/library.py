"""`seedbed ls`, `cp` and `rm`, and the same verbs of the nouns that are kinds of artifacts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from seedbed.app.inventory import COLLECTION, KINDS, check_no_collection, entries, unknown_kind
from seedbed.cli import options
from seedbed.cli.common import confirm, print_json, print_list
from seedbed.cli.groups import help_text
from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, NewerError, NotFoundError, SeedbedError, UsageError
from seedbed.core.progress import say
from seedbed.core.references import check_name
from seedbed.core.units import bytes_text

Columns = Mapping[str, Callable[[Artifact], Any]]
"""Further columns of a list: title → value."""
_force = click.option("--force", is_flag=True, help="Also when something else was made from it, or needs it.")


@click.command("ls")
@click.option("--kind", help=f"Only one of these: {', '.join(KINDS)}, {COLLECTION}.")
@options.common_flags
def ls_command(kind: str | None, as_json: bool) -> None:
    """List the library, newest first: artifacts, and collections of documents.

    $ seedbed ls --kind model
    """
    _list(kind, {}, as_json)


@click.command("cp")
@options.stored("reference", metavar="NAME")
@click.argument("new", metavar="NEW")
@click.option("--force", is_flag=True, help="Also where NEW names something else already.")
@options.common_flags
def cp_command(reference: str, new: str, force: bool, as_json: bool) -> None:
    """Give an artifact a further name.

    Nothing is copied: both names point to the same files.

    $ seedbed cp quickstart quickstart-monday
    """
    library = Library()
    artifact, taken = library.get(reference), library.names().get(check_name(new))
    if taken not in (None, artifact.id) and not force:
        fix = "choose another name, or move this one with --force"
        raise UsageError(f"{new!r} is the name of something else", why=f"it points to {str(taken)[:12]}", fix=fix)
    library.name(new, artifact)
    say(f"{new} is {artifact.kind} {artifact.id[:12]}")
    if as_json:
        print_json({"name": new, "id": artifact.id, "kind": artifact.kind})


@click.command("rm")
@options.stored("reference", metavar="NAME")
@options.yes
@_force
@click.option("--kind", help="Only if it is of this kind.")
@options.common_flags
def rm_command(reference: str, yes: bool, force: bool, kind: str | None, as_json: bool) -> None:
    """Remove an artifact, or one of its names.

    A name of several that point to one artifact is removed alone. The last name, and an id or the first six or more
    digits of one, are removed with the artifact and its files. Asks first, with the bytes that it frees.

    $ seedbed rm quickstart-int4 --yes
    """
    _remove(reference, kind, yes, force, as_json)


def add_verbs(group: click.Group, kind: str, columns: Columns | None = None, *, ls: bool = True) -> None:
    """Add `ls` (unless the noun has its own) and `rm` of one kind of artifact to a group."""
    if ls:

        @group.command("ls", help=help_text(f"List them, newest first.\n\n$ seedbed {group.name} ls"))
        @options.common_flags
        def list_them(as_json: bool) -> None:
            _list(kind, columns or {}, as_json)

    text = f"Remove one, or one of its names; asks first.\n\n$ seedbed {group.name} rm NAME"

    @group.command("rm", help=help_text(text))
    @options.stored("name", kind)
    @options.yes
    @_force
    @options.common_flags
    def remove(name: str, yes: bool, force: bool, as_json: bool) -> None:
        _remove(name, kind, yes, force, as_json)


def _list(kind: str | None, columns: Columns, as_json: bool) -> None:
    library, found = Library(), []
    for entry in entries(library, kind):
        record = {name: value for name, value in vars(entry).items() if name != "artifact"}
        if entry.artifact is not None:
            record |= details(entry.artifact) | {title: of(entry.artifact) for title, of in columns.items()}
        found.append(record)
        if entry.problem:
            say(f"cannot be read: {entry.problem}")
    for name, why in library.bad_names().items():
        say(f"the name {name} points to no artifact: {why}")
    if found or as_json:
        print_list(found, ("kind", "id", "names", *columns, "created", "bytes"), as_json)
    else:
        say(f"{library.root} holds no {kind or 'artifacts'} yet")


def details(artifact: Artifact) -> dict[str, Any]:
    """Return the further facts of an artifact for `--json`."""
    manifest = artifact.manifest
    return {
        "files": {name: entry["bytes"] for name, entry in manifest.files.items()},
        "licence": manifest.licence,
        "code_version": manifest.code_version,
        "metrics": manifest.metrics,
        "path": str(artifact.path),
    }


def _remove(reference: str, kind: str | None, yes: bool, force: bool, as_json: bool) -> None:
    if kind not in (None, *KINDS):
        raise unknown_kind(str(kind), KINDS)
    library = Library()
    try:
        artifact = library.get(reference, kind)
    except (CorruptError, NewerError) as error:
        _remove_unreadable(library, library.find(reference, kind), reference, error, yes, as_json)
        return
    except NotFoundError:
        if kind is not None or reference not in library.bad_names():
            raise
        _remove_bad_name(library, reference, yes, as_json)
        return
    names = library.names_of(artifact)
    others = [name for name in names if name != reference]
    if artifact.kind == "model" and not force:
        check_no_collection(library, artifact, [reference] if reference in names and others else names)
    if reference in names and others:
        confirm(f"remove the name {reference}? {', '.join(others)} still names {artifact.kind} {artifact.id[:12]}", yes)
        library.unname(reference)
        say(f"removed the name {reference}; no bytes are freed")
        removed: dict[str, Any] = {"removed": None, "bytes": 0, "names": [reference]}
    else:
        _delete(library, artifact, reference, others, yes, force)
        removed = {"removed": artifact.id, "bytes": artifact.size, "names": names}
    if as_json:
        print_json(removed)


def _remove_unreadable(
    library: Library, path: Path, reference: str, error: SeedbedError, yes: bool, as_json: bool
) -> None:
    """Remove an artifact that cannot be read; whether something was made from it cannot be known."""
    say(f"{error.what}: {error.why}")
    size = sum(one.stat(follow_symlinks=False).st_size for one in path.rglob("*"))
    told = "a newer seedbed can read it. " if isinstance(error, NewerError) else ""
    confirm(f"{told}remove {path.parent.name} {path.name[:12]} with its {bytes_text(size)} all the same?", yes)
    names = library.discard(path)
    say(f"removed {reference}: {bytes_text(size)} are free again")
    if as_json:
        print_json({"removed": path.name, "bytes": size, "names": names})


def _remove_bad_name(library: Library, name: str, yes: bool, as_json: bool) -> None:
    confirm(f"remove the name {name}? It points to no artifact: {library.bad_names()[name]}", yes)
    library.unname(name)
    say(f"removed the name {name}")
    if as_json:
        print_json({"removed": None, "bytes": 0, "names": [name]})


def _delete(library: Library, artifact: Artifact, reference: str, others: list[str], yes: bool, force: bool) -> None:
    if not force:
        library.check_unneeded(artifact, reference)
    say(f"{artifact.kind} {artifact.id[:12]}: {bytes_text(artifact.size)} in {len(artifact.manifest.files)} files")
    if others:
        say(f"its other names are removed too: {', '.join(others)}")
    if children := library.children(artifact):
        say(f"{len(children)} artifacts were made from it and stay, with a gap in their families")
    confirm(f"remove {reference}?", yes)
    library.remove(artifact.id, force=force)
    say(f"removed {reference}: {bytes_text(artifact.size)} are free again")
