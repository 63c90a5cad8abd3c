"""`seedbed cp` and `seedbed rm`: a further name for an artifact, and removing names and artifacts."""

from __future__ import annotations

import click

from seedbed.cli.common import bytes_text, common_flags, print_json
from seedbed.core.errors import UsageError
from seedbed.core.progress import say


@click.command("cp")
@click.argument("reference", metavar="NAME")
@click.argument("new", metavar="NEW")
@click.option("--force", is_flag=True, help="Also where NEW names something else already.")
@common_flags
def cp_command(reference: str, new: str, force: bool, as_json: bool) -> None:
    """Give an artifact a further name.

    Nothing is copied: both names point to the same files.

    \b
    Example:
      seedbed cp quickstart quickstart-monday
    """
    from seedbed.core.artifacts import Library, check_name

    library = Library()
    artifact, taken = library.get(reference), library.names().get(check_name(new))
    if taken not in (None, artifact.id) and not force:
        raise UsageError(
            f"{new!r} is the name of something else",
            why=f"it points to {str(taken)[:12]}",
            fix="choose another name, or move this one with --force",
        )
    library.name(new, artifact)
    say(f"{new} is {artifact.kind} {artifact.id[:12]}")
    if as_json:
        print_json({"name": new, "id": artifact.id, "kind": artifact.kind})


@click.command("rm")
@click.argument("reference", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also when something else was made from it.")
@click.option("--kind", help="Only if it is of this kind.")
@common_flags
def rm_command(reference: str, yes: bool, force: bool, kind: str | None, as_json: bool) -> None:
    """Remove an artifact, or one of its names.

    A name of several that point to one artifact goes alone. The last name, and an id or the first six or more digits
    of one, go with the artifact and its files; how many bytes that frees is said, and asked first.

    \b
    Example:
      seedbed rm quickstart-int4 --yes
    """
    from seedbed.core.artifacts import Library

    library = Library()
    artifact = library.get(reference, kind)
    names = library.names_of(artifact)
    others = [name for name in names if name != reference]
    if reference in names and others:
        confirm(f"remove the name {reference}? {', '.join(others)} still names {artifact.kind} {artifact.id[:12]}", yes)
        library.unname(reference)
        say(f"removed the name {reference}; no bytes are freed")
        if as_json:
            print_json({"removed": None, "bytes": 0, "names": [reference]})
        return
    children = library.children(artifact)
    if children and not force:
        raise UsageError(
            f"{artifact.kind} {reference} is still needed",
            why=", ".join(f"{child.kind} {child.id[:12]}" for child in children[:4]) + " was made from it",
            fix="remove those first, or leave a gap in their families with --force",
        )
    say(f"{artifact.kind} {artifact.id[:12]}: {bytes_text(artifact.size)} in {len(artifact.manifest.files)} files")
    if others:
        say(f"it is called {', '.join(others)}; these names go too")
    if children:
        say(f"{len(children)} artifacts were made from it and stay, with a gap in their families")
    confirm(f"remove {reference}?", yes)
    library.remove(artifact.id, force=force)
    say(f"removed {reference}: {bytes_text(artifact.size)} are free again")
    if as_json:
        print_json({"removed": artifact.id, "bytes": artifact.size, "names": names})


def confirm(question: str, yes: bool) -> None:
    """Ask on standard error.

    Raises:
        UsageError: nobody can answer.
        click.Abort: the answer is no.
    """
    if yes:
        return
    try:
        agreed = click.confirm(question, default=False, err=True)
    except click.Abort as error:
        raise UsageError("nobody answered", why="standard input has no answer", fix="add --yes") from error
    if not agreed:
        raise click.Abort
