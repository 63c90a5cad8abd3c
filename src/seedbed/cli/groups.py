"""Groups of commands, whose error for a wrong name has the nearest one; and the help text of any command."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import click

from seedbed.core.errors import UsageError


def help_text(doc: str | None) -> str:
    """Return a docstring as click's help: its last lines, ``$ seedbed …``, become the example."""
    about, mark, lines = inspect.cleandoc(doc or "").partition("\n\n$ ")
    return f"{about}\n\n\b\nExample:\n  {lines}".replace("\n$ ", "\n  ") if mark else about


class NearestGroup(click.Group):
    """A click group whose error for an unknown command is ours."""

    def __init__(self, *given: Any, help: str | None = None, **more: Any) -> None:
        super().__init__(*given, help=help_text(help), **more)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command. Raises UsageError with the nearest name where there is none."""
        known, path = self.list_commands(ctx), ctx.command_path
        if args[0] in known or args[0].startswith("-") or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(args[0], known, n=1)
        fix = f"did you mean `{path} {near[0]}`?" if near else f"see `{path} --help`"
        raise UsageError(f"there is no command {args[0]!r}", why=f"the commands are {', '.join(known)}", fix=fix)
